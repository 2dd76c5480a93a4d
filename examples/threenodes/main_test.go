package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/leatbus/leat"
)

// TestMain lets the program start itself as a node.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "node" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestStory runs the program and reads its output.
func TestStory(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	const count = 200
	var out bytes.Buffer
	if err := run(ctx, count, &out); err != nil {
		t.Fatalf("%v\nhint: %s\noutput: %s", err, leat.HintFor(err), out.String())
	}
	number := func(pattern string) []int {
		t.Helper()
		found := regexp.MustCompile(pattern).FindStringSubmatch(out.String())
		if found == nil {
			t.Fatalf("output %q, want %q in it", out.String(), pattern)
		}
		var numbers []int
		for _, text := range found[1:] {
			n, _ := strconv.Atoi(text) // the pattern has digits there
			numbers = append(numbers, n)
		}
		return numbers
	}
	for partition := range partitions {
		if on := number(fmt.Sprintf(`partition %d is on node (\d)`, partition))[0]; on != partition%nodes+1 {
			t.Errorf("partition %d is on node %d", partition, on)
		}
	}
	before := number(`200 orders were published: (\d+) on node 1, (\d+) on node 2, (\d+) on node 3`)
	if before[0] == 0 || before[1] == 0 || before[2] == 0 {
		t.Errorf("%v orders per node: some got none", before)
	}
	number(`the first that failed: .*LEAT-4001`)
	meanwhile := number(`(\d+) orders went on, (\d+) of 50 customers have to wait`)
	again := number(`(\d+) orders were published again`)[0]
	if meanwhile[0]+again != count || meanwhile[0] == 0 || again == 0 || meanwhile[1] == 0 {
		t.Errorf("%d went on and %d were published again, want %d and some of both", meanwhile[0], again, count)
	}
	last := number(`all (\d+) orders are there, in order for each customer, (\d+) of them on node 3`)
	if last[0] != 2*count || last[1] != before[2]+again {
		t.Errorf("%d orders in the end, %d on node 3, want %d and %d", last[0], last[1], 2*count, before[2]+again)
	}
}
