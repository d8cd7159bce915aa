// SPDX-License-Identifier: BSD-2-Clause

// static server HOST:PORT FOLDER | client HOST:PORT PATH SHA256: net/http serves files, echoes what is
// posted; the client fetches and posts from many goroutines, and compares.
package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
)

func sha(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func get(url, want string) error {
	r, err := http.Get(url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && sha(b) != want {
		err = fmt.Errorf("GET differs: %d bytes", len(b))
	}
	return err
}

func post(url string, n int) error {
	b := make([]byte, n)
	rand.Read(b)
	r, err := http.Post(url, "application/octet-stream", bytes.NewReader(b))
	if err != nil {
		return err
	}
	defer r.Body.Close()
	got, err := io.ReadAll(r.Body)
	if err == nil && !bytes.Equal(got, b) {
		err = fmt.Errorf("POST differs: %d of %d bytes", len(got), n)
	}
	return err
}

func main() {
	at := os.Args[2]
	if os.Args[1] == "server" {
		http.Handle("/", http.FileServer(http.Dir(os.Args[3])))
		http.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body) // net/http reads no more once an answer has begun
			w.Write(b)
		})
		fmt.Fprintln(os.Stderr, http.ListenAndServe(at, nil))
		os.Exit(1)
	}
	var wg sync.WaitGroup
	errs := make(chan error, 1000)
	for g := 0; g < 8; g++ {
		wg.Add(1)
		go func(g int) {
			defer wg.Done()
			for i := 0; i < 5; i++ {
				if err := get("http://"+at+os.Args[3], os.Args[4]); err != nil {
					errs <- err
				}
				if err := post("http://"+at+"/echo", 1+g*i*30011); err != nil {
					errs <- err
				}
			}
		}(g)
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("same")
}
