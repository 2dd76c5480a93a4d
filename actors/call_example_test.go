package actors_test

import (
	"context"
	"fmt"

	"github.com/leatbus/leat/actors"
)

// add asks for a sum so far. It embeds its Reply, so that the caller hears of an actor that is gone.
type add struct {
	actors.Reply[int]
	n int
}

type summer struct{ sum int }

func (s *summer) Receive(ctx actors.Context) {
	if m, ok := ctx.Message().(add); ok {
		s.sum += m.n
		m.Answer(s.sum, nil)
	}
}

func ExampleCall() {
	ctx := context.Background()
	system := actors.NewSystem(actors.SystemOptions{})
	pid, err := system.Spawn(system.Props(func() actors.Actor { return &summer{} }), "summer")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, n := range []int{1, 2, 3} {
		fmt.Println(actors.Call(ctx, system, pid, func(r actors.Reply[int]) any { return add{r, n} }))
	}
	fmt.Println(system.Close(ctx))
	_, err = actors.Call(ctx, system, pid, func(r actors.Reply[int]) any { return add{Reply: r} })
	fmt.Println(err)
	// Output:
	// 1 <nil>
	// 3 <nil>
	// 6 <nil>
	// <nil>
	// leat: send to actor summer: closed: there is no such actor (LEAT-2008)
}
