package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat/cmd/leat/internal/demo"
)

func newDemo(a *app) *cobra.Command {
	cfg := demo.Config{For: 10 * time.Second, Rate: 1_000_000}
	var fault string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a node under load and check every message",
		Long: "Runs an embedded node in a temporary folder: keyed producers, a group of one member, a group\n" +
			"of three, and a deliberately slow subscriber, at level page (what is acknowledged survives the\n" +
			"death of the process, not a power cut). Every message carries the sequence of its key; lost,\n" +
			"duplicated and reordered are computed from these and must be 0, or the exit code is 1.\n\n" +
			"It keeps at most 1 GiB on disk: producers are held back rather than let old records go before\n" +
			"the slow subscriber has read them. published counts acknowledged messages, delivered what the\n" +
			"two groups handled. Latency is from the intended time of publishing to the handler of the\n" +
			"group of one.",
		Example: examples("leat demo", "leat demo --for 3s --rate 200000", "leat demo --for 2s -o json"),
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkDemo(cmd, &cfg, fault); err != nil {
				return err
			}
			live := newLiveLine(a)
			cfg.Live = func(f demo.Figures) { live.Show(f.String()) }
			card, err := demo.Run(cmd.Context(), cfg)
			live.Done()
			if err != nil {
				return err
			}
			if err := a.writeCard(&card); err != nil {
				return err
			}
			return card.Err()
		},
	}
	flags := cmd.Flags()
	flags.DurationVar(&cfg.For, "for", cfg.For, "how long to publish")
	flags.Int64Var(&cfg.Rate, "rate", cfg.Rate, "messages per second, from all producers")
	flags.StringVar(&fault, "break", "", "let a handler see a fault: lost, dup or order")
	cobra.CheckErr(flags.MarkHidden("break"))
	return cmd
}

func checkDemo(cmd *cobra.Command, cfg *demo.Config, fault string) error {
	if cfg.For <= 0 || cfg.For > 24*time.Hour {
		return usagef(cmd, "--for %v: want more than 0, at most 24h", cfg.For)
	}
	if cfg.Rate < 1 || cfg.Rate > demo.RateMax {
		return usagef(cmd, "--rate %d: want 1 to %d", cfg.Rate, demo.RateMax)
	}
	var err error
	if cfg.Break, err = demo.ParseFault(fault); err != nil {
		return usagef(cmd, "--break %q: want lost, dup or order", fault)
	}
	return nil
}

func (a *app) writeCard(card *demo.Card) error {
	return a.write(card, func() error { return writeCardTable(a.stdout, card) })
}

func writeCardTable(w io.Writer, card *demo.Card) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name, value, note string) { fmt.Fprintf(table, "%s\t%s\t  %s\n", name, value, note) }
	count := func(n int64) string { return fmt.Sprint(n) }
	micros := func(v float64) string { return fmt.Sprintf("%.1f", v) }
	row("published", count(card.Published), "acknowledged at level "+card.Level)
	row("delivered", count(card.Delivered), "by two groups, to the end")
	row("slow subscriber", count(card.SlowDelivered), fmt.Sprintf("read, %d behind at the end", card.SlowBehind))
	row("lost", count(card.Lost), "from the sequences in the payloads")
	row("duplicated", count(card.Duplicated), "")
	row("reordered", count(card.Reordered), "")
	row("msgs per second", fmt.Sprintf("%.0f", card.MsgsPerSec),
		fmt.Sprintf("over %.1f s, %d partitions", card.Seconds, card.Partitions))
	row("p50 µs", micros(card.P50), "from intended publish to handler")
	row("p99 µs", micros(card.P99), "")
	row("p99.9 µs", micros(card.P999), "")
	row("max µs", micros(card.Max), "")
	row("on disk MiB", fmt.Sprintf("%.0f", float64(card.DiskBytes)/(1<<20)), "removed again")
	if card.HeldSeconds > 0 {
		row("held back s", fmt.Sprintf("%.1f", card.HeldSeconds), "so that the slow subscriber misses nothing")
	}
	return table.Flush()
}
