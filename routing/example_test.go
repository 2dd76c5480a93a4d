package routing_test

import (
	"fmt"

	"github.com/leatbus/leat/routing"
)

func Example() {
	table, err := routing.NewTable(4)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, key := range []string{"EURUSD", "GBPJPY", "EURUSD"} {
		slot := routing.Slot(routing.Hash([]byte(key)))
		fmt.Println(key, "slot", slot, "partition", table.Partition(slot))
	}
	// Output:
	// EURUSD slot 3475 partition 0
	// GBPJPY slot 10989 partition 2
	// EURUSD slot 3475 partition 0
}
