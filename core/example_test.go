package core_test

import (
	"errors"
	"fmt"

	"github.com/leatbus/leat/core"
)

// A shell plans an append, writes the batch, and reports it; consumers of a topic at disk see it
// once the sync is reported.
func ExamplePartition() {
	p := core.NewPartition(core.AckDisk, 0, 0)
	var out core.Effects
	batch := core.PartitionInput{Kind: core.InputAppend, ProducerID: 7, Records: 3}
	p.Step(&batch, 1, &out)
	plan := out.List[0]
	fmt.Printf("write [%d, %d), readers see %d\n", plan.Lo, plan.Hi, p.HighWater())

	out.Reset()
	p.Step(&core.PartitionInput{Kind: core.InputWritten, ProducerID: 7, Records: 3, Offset: plan.Hi}, 2, &out)
	p.Step(&core.PartitionInput{Kind: core.InputSynced, Offset: plan.Hi}, 3, &out)
	fmt.Println("synced, readers see", p.HighWater())

	out.Reset()
	p.Step(&batch, 4, &out) // the producer did not get the answer and tries again
	fmt.Println("duplicate:", out.List[0].Kind == core.EffectDuplicate)
	// Output:
	// write [0, 3), readers see 0
	// synced, readers see 3
	// duplicate: true
}

// A second member gets its share only when the first has let go of it.
func ExampleGroup() {
	g := core.NewGroup(2)
	var out core.GroupEffects
	g.Step(&core.GroupInput{Kind: core.GroupJoin, Member: "a"}, 1, &out)
	g.Step(&core.GroupInput{Kind: core.GroupJoin, Member: "b"}, 2, &out)
	owner, _ := g.Owner(1)
	fmt.Println("owner while a is asked to release:", owner)
	g.Step(&core.GroupInput{Kind: core.GroupRevoked, Member: "a", Partition: 1}, 3, &out)
	owner, generation := g.Owner(1)
	fmt.Println("owner after that:", owner, "generation", generation)
	// Output:
	// owner while a is asked to release: a
	// owner after that: b generation 2
}

// Errors are compared by code and carry the way out.
func ExampleError() {
	_, err := core.NewCatalogue().Create("../x", core.TopicConfig{}, 0)
	fmt.Println(err)
	fmt.Println(errors.Is(err, core.ErrInvalidName), core.Retryable(err))
	fmt.Println(core.HintFor(err))
	// Output:
	// leat: topic "../x": invalid name: byte 2 is "/" (LEAT-2001)
	// true false
	// use 1 to 249 of a-z A-Z 0-9 . _ - and do not start with __
}
