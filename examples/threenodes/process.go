package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/leatbus/leat/node"
)

const servingOn = "serving on "

// runNode is a node: it opens a folder as one of the cluster and serves it until ctx ends.
func runNode(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("node", flag.ExitOnError)
	id := flags.Uint("id", 1, "of this node")
	list := flags.String("peers", "", "addresses of all nodes, that of node 1 first, with commas")
	data := flags.String("data", "", "folder of this node")
	_ = flags.Parse(args) // exits on errors
	peers := map[uint16]string{}
	for i, address := range strings.Split(*list, ",") {
		peers[uint16(i+1)] = address
	}
	self := uint16(*id)
	bus, err := node.Open(ctx, *data,
		node.WithCluster(node.ClusterConfig{Node: self, Name: "threenodes", Peers: peers}))
	if err != nil {
		return err
	}
	defer bus.Close()
	server, err := node.Serve(ctx, bus, node.ServeConfig{Listen: peers[self], DrainFor: time.Second})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s%s\n", servingOn, server.Addr())
	<-ctx.Done()
	return server.Close()
}

// process is a node in a process of its own.
type process struct {
	address string
	command *exec.Cmd
	end     context.CancelFunc
}

// startNode starts this program again, as a node.
func startNode(ctx context.Context, id int, peers map[int]string, data string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(context.WithoutCancel(ctx)) // nodes end after their clients
	p := &process{end: end}
	p.command = exec.CommandContext(ctx, self,
		"node", "-id", strconv.Itoa(id), "-peers", join(peers), "-data", data)
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
		return nil, fmt.Errorf("node %d said %q: %w", id, line, err)
	}
	return p, nil
}

func (p *process) pid() int { return p.command.Process.Pid }

// stop ends the node in good order.
func (p *process) stop() {
	p.end()
	_ = p.command.Wait() // that it was interrupted is no news
}

// kill ends the process as a crash would.
func (p *process) kill() {
	_ = p.command.Process.Kill() // it may have ended by itself
	p.stop()
}

// freeAddresses gives addresses on this machine that nobody listens on, by node.
func freeAddresses(n int) (map[int]string, error) {
	addresses := map[int]string{}
	for id := 1; id <= n; id++ {
		socket, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer socket.Close() // all at once, so that no address comes twice
		addresses[id] = socket.LocalAddr().String()
	}
	return addresses, nil
}
