package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/netfault"
	"github.com/leatbus/leat/node"
)

// game is what the flags say.
type game struct {
	players     int
	connections int
	rate        int
	length      time.Duration
}

// farewell is how long players may take to see the last tick after it was sent.
const farewell = 20 * time.Second

func main() {
	var g game
	flag.IntVar(&g.players, "players", 200, "players, one of them behind a bad link")
	flag.IntVar(&g.connections, "connections", 25, "QUIC connections that they share, at least 2")
	flag.IntVar(&g.rate, "rate", 30, "ticks per second")
	flag.DurationVar(&g.length, "for", 10*time.Second, "length of the game")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := g.run(ctx, os.Stdout); err != nil {
		log.Fatalf("%v\nhint: %s", err, leat.HintFor(err))
	}
}

// run plays one game and reports it.
func (g *game) run(ctx context.Context, out io.Writer) error {
	if g.connections < 2 || g.players < g.connections || g.rate < 1 {
		return errors.New("want at least 2 connections, a player for each, and 1 tick per second")
	}
	// A room only passes ticks on, so its bus may live in memory; RetentionBytes keeps it small.
	bus, err := node.Open(ctx, "", node.InMemory(), node.WithTopic(roomTopic,
		leat.TopicConfig{Ack: leat.AckPage, SegmentBytes: 1 << 20, RetentionBytes: 8 << 20}))
	if err != nil {
		return err
	}
	defer bus.Close()
	server, err := node.Serve(ctx, bus, node.ServeConfig{Listen: "127.0.0.1:0", DrainFor: time.Second})
	if err != nil {
		return err
	}
	defer server.Close()
	address := server.Addr().String()
	link, err := netfault.New(address, netfault.Options{ToTarget: badLink, ToClient: badLink})
	if err != nil {
		return err
	}
	defer link.Close()

	near, closeNear, err := connect(ctx, address, g.players-1, g.connections-1)
	defer closeNear()
	if err != nil {
		return err
	}
	far, closeFar, err := connect(ctx, link.Addr(), 1, 1)
	defer closeFar()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d players on %d connections, %d ticks per second for %v\n",
		g.players, g.connections, g.rate, g.length)
	ticks, err := g.play(ctx, bus, link, append(near[:len(near):len(near)], far...))
	if err != nil {
		return err
	}
	toTarget, toClient := link.Counts()
	return errors.Join(report(out, fmt.Sprintf("%d near players", len(near)), near, ticks),
		report(out, fmt.Sprintf("1 player behind a link that lost %d packets and dropped %d while it was broken",
			toTarget.Lost+toClient.Lost, toTarget.Cut+toClient.Cut), far, ticks))
}

// badLink is what befalls packets of one direction between the server and the last player.
var badLink = netfault.Faults{Loss: 0.05, Delay: 20 * time.Millisecond, Jitter: 2 * time.Millisecond}

// play sends the ticks, breaks the link in the middle of the game, and returns the number of ticks when
// every player has seen the last one.
func (g *game) play(
	ctx context.Context, bus *leat.Bus, link *netfault.Relay, players []*player,
) (int, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watching sync.WaitGroup
	for _, p := range players {
		watching.Go(func() {
			if err := p.watch(ctx); err != nil {
				cancel(err)
			}
		})
	}
	broken := time.AfterFunc(g.length/2, func() {
		link.Cut()
		time.AfterFunc(min(time.Second, g.length/4), link.Heal)
	})
	defer broken.Stop()
	ticks, err := g.runRoom(ctx, bus)
	if err != nil {
		cancel(err)
	}
	late := time.AfterFunc(farewell, func() {
		cancel(fmt.Errorf("not every player has seen the last tick after %v", farewell))
	})
	defer late.Stop()
	watching.Wait()
	return ticks, context.Cause(ctx)
}
