package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/leatbus/leat/node"
)

const servingOn = "serving on "

// serve opens a bus and serves it until ctx ends.
func serve(ctx context.Context, listen, data string, out io.Writer) error {
	bus, err := node.Open(ctx, data)
	if err != nil {
		return err
	}
	defer bus.Close()
	// Without a certificate of its own it serves this machine, with one of the user's development CA,
	// which leat.Dial trusts.
	server, err := node.Serve(ctx, bus, node.ServeConfig{Listen: listen})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s%s\n", servingOn, server.Addr())
	<-ctx.Done()
	return server.Close() // lets clients finish what they have in flight
}

// process is this program, serving, in a process of its own.
type process struct {
	address string
	command *exec.Cmd
	end     context.CancelFunc
}

// startServer starts this program again, as the server.
func startServer(ctx context.Context, listen, data string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(context.WithoutCancel(ctx)) // the server ends after its clients
	p := &process{end: end}
	p.command = exec.CommandContext(ctx, self, "serve", "-listen", listen, "-data", data)
	p.command.Cancel = func() error { return p.command.Process.Signal(os.Interrupt) }
	p.command.WaitDelay = 15 * time.Second // then it is killed
	p.command.Stderr = os.Stderr
	output, err := p.command.StdoutPipe()
	if err == nil {
		err = p.command.Start()
	}
	if err != nil {
		end()
		return nil, err
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	var found bool
	if p.address, found = strings.CutPrefix(strings.TrimSpace(line), servingOn); !found {
		p.stop()
		return nil, fmt.Errorf("the server said %q: %w", line, err)
	}
	return p, nil
}

func (p *process) pid() int { return p.command.Process.Pid }

// stop ends the server.
func (p *process) stop() {
	p.end()
	_ = p.command.Wait() // that it was interrupted is no news
}
