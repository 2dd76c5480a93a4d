package benchkit

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/node"
)

// NetServer is the server process of Net: a node in dir and a bare QUIC echo. It prints where they listen
// as one line of JSON on out, and serves until in ends or ctx does.
func NetServer(ctx context.Context, dir string, in io.Reader, out io.Writer) (err error) {
	bus, err := node.Open(ctx, filepath.Join(dir, "bus"),
		node.WithTopic(netRTTTopic, leat.TopicConfig{Ack: leat.AckPage, RetentionBytes: busRetentionBytes}))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	server, err := node.Serve(ctx, bus, node.ServeConfig{Listen: "127.0.0.1:0"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	echo, err := startEcho()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, echo.close()) }()
	line, err := json.Marshal(netAddresses{Leat: server.Addr().String(), Echo: echo.addr()})
	if err != nil {
		return err
	}
	if _, err := out.Write(append(line, '\n')); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { // ends with the process that started this one
		defer close(ended)
		_, _ = io.Copy(io.Discard, in)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
