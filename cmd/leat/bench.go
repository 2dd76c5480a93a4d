package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/benchkit"
)

// benchFlag adds one flag of a scenario.
type benchFlag func(cmd *cobra.Command, o *benchkit.Options)

func newBench(a *app) *cobra.Command {
	group := &cobra.Command{
		Use:   "bench",
		Short: "Measure this machine, beside the floors it sets",
		Long: "Each benchmark measures beside a floor in the same run, round by round in turning order, and\n" +
			"prints the median. Latency counts from the intended send time. A run that lost, repeated or\n" +
			"reordered a message, or missed its rate, is invalid and exits 1. bench bus also repeats rounds\n" +
			"that the machine disturbed, and is invalid if that does not help.",
		Example: examples("leat bench log", "leat bench bus --for 5s -o json"),
	}
	group.AddCommand(
		a.scenario("log", "Append to and read from one log, against memcpy and sync", benchkit.Log,
			examples("leat bench log", "leat bench log --rounds 9 --size 1024 -o json"),
			forFlag("time of each durable case and round (1s)"), roundsFlag, sizeFlag("encoded record, bytes (256)")),
		a.scenario("bus", "Publish and consume in one process: throughput, latency, durable", benchkit.Bus,
			examples("leat bench bus", "leat bench bus --for 2s --rounds 5 -o json"),
			forFlag("time of each throughput round; the others take a fifth (10s)"), roundsFlag,
			sizeFlag("value, bytes (64)"), onlyFlag("throughput,disk"), guardFlags),
		a.scenario("idle", "Cost of a node with many partitions that does nothing", benchkit.Idle,
			examples("leat bench idle", "leat bench idle --for 10s --partitions 100 -o json"),
			forFlag("how long to stay idle (1m)"), roundsFlag, partitionsFlag),
		a.scenario("open", "Reopen a folder whose process was killed", benchkit.Open,
			examples("leat bench open", "leat bench open --gb 2 -o json"), gigabytesFlag, roundsFlag),
		a.scenario("net", "Client and server in two processes over QUIC, beside a bare QUIC stream", benchkit.Net,
			examples("leat bench net", "leat bench net --for 2s --connections 100 -o json"),
			forFlag("time of each throughput round; round trips take a fifth (5s)"), roundsFlag,
			sizeFlag("value, bytes (64)"), connectionsFlag, idleForFlag),
		a.scenario("ring", "Hand messages from goroutine to goroutine: the ring beside Go channels", benchkit.Ring,
			examples("leat bench ring", "leat bench ring --for 200ms --rounds 5 -o json"),
			forFlag("time of each case and round (500ms)"), roundsFlag, onlyFlag("hop-8,1p1c-64"), guardFlags),
		a.scenario("selftest", "Check that these benchmarks find stalls, losses and disorder", benchkit.SelfTest,
			examples("leat bench selftest", "leat bench selftest -o json")),
		newFill(a),
		newNetServer(a),
	)
	asGroup(group)
	return group
}

// scenario makes one verb below bench.
func (a *app) scenario(
	name, short string, run benchkit.Benchmark, example string, flags ...benchFlag,
) *cobra.Command {
	var o benchkit.Options
	cmd := &cobra.Command{
		Use:     name,
		Short:   short,
		Example: example,
		Args:    noArguments,
	}
	cmd.Flags().StringVar(&o.Dir, "dir", "", "folder for the data; it is the disk that is measured "+
		"(the temporary folder)")
	for _, add := range flags {
		add(cmd, &o)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		live := newLiveLine(a)
		live.every = 1
		o.Progress, o.Filler = live.Show, fillerProcess
		o.NetServer, o.Serve = netServerProcess, serveProcess
		report, err := run(cmd.Context(), o)
		live.Done()
		if err != nil {
			return err
		}
		if err := a.writeReport(report); err != nil {
			return err
		}
		return report.Err()
	}
	return cmd
}

func (a *app) writeReport(report *benchkit.Report) error {
	if a.output == formatTable {
		return report.WriteTable(a.stdout)
	}
	var text bytes.Buffer
	if err := report.WriteJSON(&text); err != nil {
		return err
	}
	if a.output == formatJSON {
		_, err := text.WriteTo(a.stdout)
		return err
	}
	converted, err := yaml.JSONToYAML(text.Bytes())
	if err != nil {
		return err
	}
	_, err = a.stdout.Write(converted)
	return err
}

func forFlag(usage string) benchFlag {
	return func(cmd *cobra.Command, o *benchkit.Options) {
		cmd.Flags().Var((*positiveDuration)(&o.For), "for", usage)
	}
}

func roundsFlag(cmd *cobra.Command, o *benchkit.Options) {
	cmd.Flags().Var(newPositive(func(n int64) { o.Rounds = int(n) }, 1000), "rounds", "measured rounds")
}

// onlyFlag takes scenarios of a suite.
func onlyFlag(such string) benchFlag {
	return func(cmd *cobra.Command, o *benchkit.Options) {
		cmd.Flags().StringSliceVar(&o.Only, "only", nil, "scenarios to run, such as "+such+" (all)")
	}
}

// guardFlags say which rounds of a suite count.
func guardFlags(cmd *cobra.Command, o *benchkit.Options) {
	cmd.Flags().BoolVar(&o.Guard.Off, "unguarded", false, "count disturbed rounds too: a quick look, no figure")
	cmd.Flags().Float64Var(&o.Guard.CanaryMax, "canary-max", 0,
		"nanoseconds that handing a cache line over may take in a round that counts (1.5 times the best)")
}

func sizeFlag(usage string) benchFlag {
	return func(cmd *cobra.Command, o *benchkit.Options) {
		cmd.Flags().Var(newPositive(func(n int64) { o.Size = int(n) }, 1<<20), "size", usage)
	}
}

func partitionsFlag(cmd *cobra.Command, o *benchkit.Options) {
	cmd.Flags().Var(newPositive(func(n int64) { o.Idle = int(n) }, core.MaxPartitions), "partitions",
		"partitions that get one record each (1000)")
}

func gigabytesFlag(cmd *cobra.Command, o *benchkit.Options) {
	cmd.Flags().Var((*gigabytes)(&o.Bytes), "gb", "gigabytes to fill, from 0.001 to 1000 (1)")
}

// positiveDuration is a flag that refuses 0 and less.
type positiveDuration time.Duration

// String gives the value, empty for the scenario's default.
func (d *positiveDuration) String() string {
	if *d == 0 {
		return ""
	}
	return time.Duration(*d).String()
}

// Set reads a Go duration.
func (d *positiveDuration) Set(text string) error {
	v, err := time.ParseDuration(text)
	if err != nil || v <= 0 || v > 24*time.Hour {
		return fmt.Errorf("want a duration above 0, at most 24h, such as 10s")
	}
	*d = positiveDuration(v)
	return nil
}

// Type names the value in help texts.
func (d *positiveDuration) Type() string { return "duration" }

// positive is a flag for a number from 1 to max.
type positive struct {
	set  func(int64)
	max  int64
	text string
}

func newPositive(set func(int64), max int64) *positive { return &positive{set: set, max: max} }

// String gives the value, empty for the scenario's default.
func (p *positive) String() string { return p.text }

// Set reads a number.
func (p *positive) Set(text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 || n > p.max {
		return fmt.Errorf("want a number from 1 to %d", p.max)
	}
	p.text = text
	p.set(n)
	return nil
}

// Type names the value in help texts.
func (p *positive) Type() string { return "number" }

// gigabytes is a flag in units of 10⁹ bytes.
type gigabytes int64

// String gives the value, empty for the scenario's default.
func (g *gigabytes) String() string {
	if *g == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(*g)/1e9, 'g', -1, 64)
}

// Set reads a decimal number.
func (g *gigabytes) Set(text string) error {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= 0.001 && v <= 1000) {
		return fmt.Errorf("want a number from 0.001 to 1000")
	}
	*g = gigabytes(v * 1e9)
	return nil
}

// Type names the value in help texts.
func (g *gigabytes) Type() string { return "number" }

// fillVerb is the process that bench open kills.
const fillVerb = "fill"

func newFill(a *app) *cobra.Command {
	return &cobra.Command{
		Use:    fillVerb + " DIR BYTES",
		Short:  "Fill a folder until killed",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			bytes, err := strconv.ParseInt(args[1], 10, 64)
			if err != nil {
				return usagef(cmd, "BYTES %q: want a number", args[1])
			}
			return benchkit.FillAndWait(cmd.Context(), args[0], bytes, a.stdout)
		},
	}
}

// fillerProcess is this program once more.
func fillerProcess(ctx context.Context, dir string, bytes int64) (*exec.Cmd, error) {
	return itself(ctx, "bench", fillVerb, dir, strconv.FormatInt(bytes, 10))
}
