package queue

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// The servers of the command of bench/queue/server.
const (
	natsVerb = "nats"
	echoVerb = "echo"
)

// Serve runs a server until in ends, and prints its address as a line: NATS with a folder for its streams, or
// the HTTP echo. It is all of the command of bench/queue/server.
func Serve(arguments []string, in io.Reader, out io.Writer) error {
	switch {
	case len(arguments) == 2 && arguments[0] == natsVerb:
		return serveNATS(arguments[1], in, out)
	case len(arguments) == 1 && arguments[0] == echoVerb:
		return serveEcho(in, out)
	}
	return fmt.Errorf("arguments %q: want %s DIR, or %s", arguments, natsVerb, echoVerb)
}

func serveNATS(dir string, in io.Reader, out io.Writer) error {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true,
		NoLog: true, JetStream: true, StoreDir: dir, JetStreamMaxMemory: 1 << 30, JetStreamMaxStore: 1 << 40})
	if err != nil {
		return err
	}
	go s.Start() // ends with Shutdown, which WaitForShutdown waits for
	if s.ReadyForConnections(10 * time.Second) {
		if _, err = fmt.Fprintln(out, s.Addr()); err == nil {
			_, err = io.Copy(io.Discard, in)
		}
	} else {
		err = errors.New("nats-server was not ready within 10 s")
	}
	s.Shutdown()
	s.WaitForShutdown()
	return err
}

// serveEcho answers every request with its body: the least that a server on net/http does.
func serveEcho(in io.Reader, out io.Writer) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = w.Write(body) // who does not read it has gone
	})}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(listener) }()
	if _, err = fmt.Fprintln(out, listener.Addr()); err == nil {
		_, err = io.Copy(io.Discard, in)
	}
	err = errors.Join(err, s.Close())
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
