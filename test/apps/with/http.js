// SPDX-License-Identifier: BSD-2-Clause
// http.js server HOST PORT FILE | client HOST PORT SHA256: GET sends the file as a stream, POST answers
// with the digest of what came. The client does both over kept and new connections, and compares.
'use strict';
const http = require('http'), fs = require('fs'), crypto = require('crypto');
const [role, host, port, what] = process.argv.slice(2);
const sha = () => crypto.createHash('sha256');

function serve() {
	http.createServer((req, res) => {
		if (req.method === 'GET')
			return fs.createReadStream(what).pipe(res);
		const h = sha();
		req.on('data', (d) => h.update(d));
		req.on('end', () => res.end(h.digest('hex')));
	}).listen(+port, host, () => console.log('ready'));
}

function ask(method, body, agent) {
	return new Promise((done, failed) => {
		const req = http.request({ host, port: +port, method, agent, path: '/' }, (res) => {
			const parts = [];
			res.on('data', (d) => parts.push(d));
			res.on('end', () => done(Buffer.concat(parts)));
		});
		req.on('error', failed);
		req.end(body);
	});
}

async function client() {
	for (const keepAlive of [true, false]) {
		const agent = new http.Agent({ keepAlive, maxSockets: 8 });
		const jobs = [];
		for (let i = 0; i < 24; i++) {
			const body = crypto.randomBytes(1 + i * 40009);
			jobs.push(ask('POST', body, agent).then((got) => {
				if (got.toString() !== sha().update(body).digest('hex'))
					throw new Error('POST differs');
			}));
			if (i % 4 === 0)
				jobs.push(ask('GET', '', agent).then((got) => {
					if (sha().update(got).digest('hex') !== what)
						throw new Error('GET differs: ' + got.length);
				}));
		}
		await Promise.all(jobs);
		agent.destroy();
	}
	console.log('same');
}

if (role === 'server')
	serve();
else
	client().catch((e) => { console.error(e); process.exit(1); });
