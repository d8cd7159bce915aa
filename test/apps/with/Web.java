// SPDX-License-Identifier: BSD-2-Clause
// java Web.java server HOST PORT FILE | nio HOST PORT | client HOST PORT SHA256 | nioclient HOST PORT
// com.sun.net.httpserver and java.net.http.HttpClient; then a Selector, SocketChannels and a
// DatagramChannel that echo. Clients compare what comes back.
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;

public class Web {
	static String sha(byte[] b) throws Exception {
		return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(b));
	}

	static void serve(InetSocketAddress at, Path file) throws Exception {
		HttpServer s = HttpServer.create(at, 100);
		s.createContext("/", x -> {
			try {
				byte[] got = x.getRequestBody().readAllBytes();
				byte[] out = x.getRequestMethod().equals("GET") ? Files.readAllBytes(file) : sha(got).getBytes();
				x.sendResponseHeaders(200, out.length);
				x.getResponseBody().write(out);
				x.close();
			} catch (Exception e) {
				throw new RuntimeException(e);
			}
		});
		s.setExecutor(Executors.newFixedThreadPool(4));
		s.start();
	}

	static void ask(String base, String want) throws Exception {
		HttpClient c = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
		for (int i = 0; i < 30; i++) {
			byte[] body = new byte[1 + i * 30011];
			new Random(i).nextBytes(body);
			HttpRequest post = HttpRequest.newBuilder(URI.create(base)).POST(HttpRequest.BodyPublishers.ofByteArray(body)).build();
			if (!c.send(post, HttpResponse.BodyHandlers.ofString()).body().equals(sha(body)))
				throw new Exception("POST differs");
			if (i % 5 == 0) {
				HttpRequest get = HttpRequest.newBuilder(URI.create(base)).build();
				if (!sha(c.send(get, HttpResponse.BodyHandlers.ofByteArray()).body()).equals(want))
					throw new Exception("GET differs");
			}
		}
	}

	static void nio(InetSocketAddress at) throws Exception {
		Selector sel = Selector.open();
		ServerSocketChannel l = ServerSocketChannel.open();
		l.bind(at, 100).configureBlocking(false).register(sel, SelectionKey.OP_ACCEPT);
		DatagramChannel d = DatagramChannel.open();
		d.bind(at).configureBlocking(false).register(sel, SelectionKey.OP_READ);
		ByteBuffer dgram = ByteBuffer.allocateDirect(65536);
		for (;;) {
			sel.select();
			for (SelectionKey k : sel.selectedKeys()) {
				if (k.isAcceptable()) {
					l.accept().configureBlocking(false).register(sel, SelectionKey.OP_READ, ByteBuffer.allocateDirect(40000));
				} else if (k.channel() == d) {
					var from = d.receive(dgram.clear());
					d.send(dgram.flip(), from);
				} else {
					echo(k);
				}
			}
			sel.selectedKeys().clear();
		}
	}

	static void echo(SelectionKey k) throws Exception {
		SocketChannel c = (SocketChannel) k.channel();
		ByteBuffer b = (ByteBuffer) k.attachment();
		if (c.read(b) < 0 && b.position() == 0) {
			c.close();
			return;
		}
		b.flip();
		c.write(b);
		b.compact();
		k.interestOps((b.hasRemaining() ? SelectionKey.OP_READ : 0) | (b.position() > 0 ? SelectionKey.OP_WRITE : 0));
	}

	static void nioClient(InetSocketAddress at) throws Exception {
		CompletableFuture<?>[] all = new CompletableFuture<?>[12];
		for (int i = 0; i < all.length; i++) {
			final int n = 1 + i * 70001;
			all[i] = CompletableFuture.runAsync(() -> {
				try (SocketChannel c = SocketChannel.open(at)) {
					byte[] data = new byte[n];
					new Random(n).nextBytes(data);
					Thread t = new Thread(() -> {
						try {
							ByteBuffer b = ByteBuffer.wrap(data);
							while (b.hasRemaining())
								c.write(b);
						} catch (Exception e) {
							throw new RuntimeException(e);
						}
					});
					t.start();
					ByteBuffer got = ByteBuffer.allocate(n);
					while (got.hasRemaining())
						if (c.read(got) < 0)
							throw new Exception("ended after " + got.position());
					t.join();
					if (!Arrays.equals(got.array(), data))
						throw new Exception("differs");
				} catch (Exception e) {
					throw new RuntimeException(e);
				}
			});
		}
		CompletableFuture.allOf(all).get();
		DatagramChannel d = DatagramChannel.open();
		d.connect(at);
		for (int n = 1; n < 1400; n += 111) {
			byte[] data = new byte[n];
			new Random(n).nextBytes(data);
			d.write(ByteBuffer.wrap(data));
			ByteBuffer got = ByteBuffer.allocate(2000);
			d.read(got);
			if (!Arrays.equals(Arrays.copyOf(got.array(), got.position()), data))
				throw new Exception("datagram differs");
		}
	}

	public static void main(String[] a) throws Exception {
		InetSocketAddress at = new InetSocketAddress(a[1], Integer.parseInt(a[2]));
		switch (a[0]) {
		case "server" -> serve(at, Path.of(a[3]));
		case "nio" -> nio(at);
		case "client" -> ask("http://" + (a[1].contains(":") ? "[" + a[1] + "]" : a[1]) + ":" + a[2] + "/", a[3]);
		case "nioclient" -> nioClient(at);
		}
		if (a[0].endsWith("client"))
			System.out.println("same");
	}
}
