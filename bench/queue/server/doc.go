// Command server is the servers that the suite queue measures and that are Go packages, each in a process of
// its own:
//
//	server nats DIR    NATS with JetStream in files
//	server echo        net/http, which answers with what it got
//
// It prints its address and serves until standard input ends. It is started by the suite.
package main

import (
	"fmt"
	"os"

	"github.com/leatbus/leat/bench/queue"
)

func main() {
	if err := queue.Serve(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}
