// Command worker measures one case of the ring in a process of its own and prints the sample as a line of
// JSON:
//
//	worker PEER SCENARIO MILLISECONDS
//
// GOMAXPROCS and build tags are what a case needs its own process for. It is started by the suite.
package main

import (
	"fmt"
	"os"

	"github.com/leatbus/leat/bench/ring"
)

func main() {
	if err := ring.Work(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}
