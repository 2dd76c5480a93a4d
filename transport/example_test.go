package transport_test

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

// Frames travel the same way over Pipe as over a connection of Dial and Listen.
func Example() {
	dialed, accepted := transport.Pipe("example/1")
	defer dialed.Close(0, "")
	out, err := dialed.OpenStream(context.Background())
	if err != nil {
		panic(err)
	}
	lane := transport.NewLane(out, 64<<10)
	for nonce := range uint64(2) {
		ping := wire.Header{Type: wire.Ping, Arg: nonce}
		if err = lane.Send(ping.Append(nil)); err != nil {
			panic(err)
		}
	}
	if err = lane.Close(); err != nil {
		panic(err)
	}

	in, err := accepted.AcceptStream(context.Background())
	if err != nil {
		panic(err)
	}
	for reader := transport.NewReader(in, wire.MaxHelloPayload); ; {
		frame, err := reader.Next()
		if errors.Is(err, io.EOF) {
			fmt.Println("the end")
			return
		}
		if err != nil {
			panic(err)
		}
		fmt.Println(frame.Type, frame.Arg)
	}
	// Output:
	// PING 0
	// PING 1
	// the end
}
