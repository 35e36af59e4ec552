// A reverse proxy as one writes it with Go's standard library: httputil.ReverseProxy over a
// transport that keeps enough idle connections and pools its buffers. The number of threads is
// the environment's (GOMAXPROCS).
//
// usage: goproxy LISTEN UPSTREAM
package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"time"
)

// Idle upstream connections that are kept; the same as every other peer's.
const kept = 2048

// What ReverseProxy copies bodies through.
const bufferBytes = 32 << 10

type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	return *b.pool.Get().(*[]byte)
}

func (b *buffers) Put(buffer []byte) {
	b.pool.Put(&buffer)
}

func newBuffers() *buffers {
	made := func() any {
		buffer := make([]byte, bufferBytes)
		return &buffer
	}
	return &buffers{sync.Pool{New: made}}
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: goproxy LISTEN UPSTREAM")
		os.Exit(2)
	}
	listen, upstream := os.Args[1], os.Args[2]
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: upstream})
	proxy.BufferPool = newBuffers()
	proxy.Transport = &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		MaxIdleConns:        kept,
		MaxIdleConnsPerHost: kept,
		IdleConnTimeout:     60 * time.Second,
		DisableCompression:  true,
		WriteBufferSize:     16 << 10,
		ReadBufferSize:      16 << 10,
	}
	server := &http.Server{Addr: listen, Handler: proxy, IdleTimeout: 60 * time.Second}
	fmt.Fprintln(os.Stderr, server.ListenAndServe())
	os.Exit(1)
}
