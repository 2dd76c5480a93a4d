package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// publishing is what leat pub was asked for.
type publishing struct {
	topic     string
	lines     bool   // a message per line of standard input
	body      []byte // if not lines
	key       []byte // nil: none
	headers   []leat.Header
	level     leat.Ack
	separator string // empty: lines are values
	partition int32  // -1: by key
	ttl       span
	id        string
	tombstone bool
	delaying  delaying
}

// publishedDoc is the result of leat pub; the keys are stable.
type publishedDoc struct {
	Topic      string  `json:"topic"`
	Published  int64   `json:"published"` // acknowledged
	Bytes      int64   `json:"bytes"`     // of their keys and values
	Seconds    float64 `json:"seconds"`
	MsgsPerSec float64 `json:"msgs_per_sec"`
	// The following is there if one message was published, and not from lines.
	Partition *int32 `json:"partition,omitempty"`
	Offset    *int64 `json:"offset,omitempty"`
	Duplicate bool   `json:"duplicate,omitempty"` // it was published before, as that
	Handle    string `json:"handle,omitempty"`    // of a delayed message, which has no offset yet

	unanswered bool // something is still in flight
}

func newPub(a *app) *cobra.Command {
	p := publishing{partition: -1, ttl: span{kind: &ttls}}
	var key, level, delay, at string
	var headers []string
	var partition int32
	cmd := &cobra.Command{
		Use:   "pub TOPIC [BODY|-]",
		Short: "Publish one message, or a line of standard input each",
		Long: "Publishes BODY and prints its partition and offset. With -, or without BODY where standard input\n" +
			"is no terminal, every line is a message; --key-sep takes the key from its start, up to the first\n" +
			"occurrence of the separator. A server that goes away is waited for: nothing is lost or doubled.\n" +
			"-o json ends with a line that tells how many messages were acknowledged, also when interrupted.",
		Example: examples("leat pub trades 110 -k ACME -H source:desk",
			`leat pub quakes - --key-sep '\t' < earthquakes.tsv`,
			"leat pub trades 111 --ack disk -o json", "leat pub trades 112 --ttl 30s",
			"leat pub trades -k ACME --tombstone",
			"leat pub trades 113 --delay 5m", "leat pub trades 114 --at 2035-01-01T09:00:00+01:00"),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usagef(cmd, "%d arguments: want TOPIC and BODY or -", len(args))
			}
			return nil
		},
		ValidArgsFunction: a.completeTopic,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p.topic = args[0]
		if cmd.Flags().Changed("key") {
			p.key = []byte(key)
		}
		if cmd.Flags().Changed("partition") {
			p.partition = partition
		}
		if err := a.checkPub(cmd, &p, args[1:], headers, level); err != nil {
			return err
		}
		if err := p.delaying.parse(cmd, delay, at); err != nil {
			return err
		}
		return a.publish(cmd.Context(), &p)
	}
	flags := cmd.Flags()
	flags.StringVarP(&key, "key", "k", "", "the key; messages with one key stay in order")
	flags.StringArrayVarP(&headers, "header", "H", nil, "a header, as in name:value; may be repeated")
	flags.StringVar(&level, "ack", "", "level to wait for, if stronger than the topic's: none, page or disk")
	flags.StringVar(&p.separator, "key-sep", "", `what ends the key in a line, \t for a tab`)
	flags.Int32Var(&partition, "partition", 0, "publish to this partition, whatever the key")
	flags.StringVar(&p.id, "id", "", "store it once, however often it is published under this id")
	flags.BoolVar(&p.tombstone, "tombstone", false, "no BODY: takes the key off a topic with --cleanup compact")
	flags.StringVar(&delay, "delay", "", "deliver it after so long, as 90s, 5m or 7d; prints its handle")
	flags.StringVar(&at, "at", "", "deliver it at this time (RFC 3339, or a date)")
	flags.Var(&p.ttl, "ttl", "how long it is delivered, as 250ms or 30s, if not as long as the topic says")
	return cmd
}

func (a *app) checkPub(cmd *cobra.Command, p *publishing, body, headers []string, level string) error {
	switch {
	case p.tombstone && (len(body) > 0 || p.key == nil):
		return usagef(cmd, "--tombstone has a key, -k, and no BODY")
	case p.tombstone:
	case len(body) == 0 && a.stdinTerminal:
		return usagef(cmd, "nothing to publish: want BODY, or - to read lines")
	case len(body) == 0 || body[0] == "-":
		p.lines = true
	default:
		p.body = []byte(body[0])
	}
	flags := cmd.Flags()
	switch {
	case flags.Changed("key-sep") && p.separator == "":
		return usagef(cmd, "--key-sep is empty")
	case flags.Changed("key-sep") && !p.lines:
		return usagef(cmd, "--key-sep is for lines: give -, or the key with -k")
	case flags.Changed("key-sep") && p.key != nil:
		return usagef(cmd, "-k and --key-sep: want one of them")
	case flags.Changed("id") && (p.lines || p.id == ""):
		return usagef(cmd, "--id is for one message, and not empty")
	case flags.Changed("partition") && p.partition < 0:
		return usagef(cmd, "--partition %d: want 0 or more", p.partition)
	}
	p.separator = strings.ReplaceAll(p.separator, `\t`, "\t")
	var err error
	if p.headers, err = parseHeaders(cmd, headers); err != nil {
		return err
	}
	if level != "" {
		if p.level, err = core.ParseAck(level); err != nil {
			return err
		}
	}
	return nil
}

// parseHeaders reads the values of -H.
func parseHeaders(cmd *cobra.Command, texts []string) (list []leat.Header, err error) {
	for _, text := range texts {
		name, value, ok := strings.Cut(text, ":")
		if !ok || name == "" {
			return nil, usagef(cmd, "-H %q: want name:value", text)
		}
		list = append(list, leat.Header{Key: name, Value: []byte(value)})
	}
	return list, nil
}

// publish publishes what was asked for and tells what was acknowledged, whatever happened.
func (a *app) publish(ctx context.Context, p *publishing) error {
	doc := publishedDoc{Topic: p.topic}
	start := a.clock.Mono()
	bus, err := a.connect(ctx, leat.WithUnreachableAfter(forever))
	if err != nil {
		if ctx.Err() != nil {
			err = errors.Join(err, a.writePublished(p, &doc, err))
		}
		return err
	}
	producer, err := a.publishTo(ctx, bus, p, &doc)
	doc.Seconds = float64(a.clock.Mono()-start) / 1e9
	doc.MsgsPerSec = float64(doc.Published) / max(doc.Seconds, 1e-9)
	if writing := a.writePublished(p, &doc, err); err == nil {
		err = writing
	}
	if doc.unanswered {
		return err // closing would wait for a server that does not answer
	}
	if producer != nil {
		err = cmp.Or(err, producer.Close())
	}
	return cmp.Or(err, bus.Close())
}

// publishTo opens a producer, which may be nil with an error, and publishes.
func (a *app) publishTo(
	ctx context.Context, bus *leat.Bus, p *publishing, doc *publishedDoc,
) (*leat.Producer, error) {
	asking, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	op := "publish to topic " + core.Quote(p.topic)
	info, err := findTopic(asking, bus, "publish to topic", p.topic)
	if err != nil {
		return nil, a.late(op, err)
	}
	options := []leat.ProducerOption{leat.WithAck(p.level)}
	if p.partition >= 0 {
		options = append(options, leat.WithPartitioner(leat.Manual))
		if int(p.partition) >= info.Config.Partitions {
			return nil, core.Errorf(core.CodePartitionUnknown, op, "partition %d, the topic has %d",
				p.partition, info.Config.Partitions)
		}
	}
	producer, err := bus.Producer(p.topic, options...)
	if err != nil {
		return nil, err
	}
	if p.lines {
		return producer, a.publishLines(ctx, producer, p, info.Config.MaxRecordBytes, doc)
	}
	return producer, a.late(op, publishOne(asking, producer, p, doc))
}

// message gives a message with everything but key and value.
func (p *publishing) message() leat.Message {
	return leat.Message{Key: p.key, Headers: p.headers, Partition: max(p.partition, 0),
		TTL: p.ttl.value, ID: p.id, Delay: p.delaying.delay, DeliverAt: p.delaying.at}
}

func publishOne(ctx context.Context, producer *leat.Producer, p *publishing, doc *publishedDoc) error {
	m := p.message()
	m.Value = p.body
	receipt, err := producer.Publish(ctx, m)
	if err != nil {
		return err
	}
	doc.Published, doc.Bytes = 1, int64(len(m.Key)+len(m.Value))
	doc.Partition, doc.Offset, doc.Duplicate = &receipt.Partition, &receipt.Offset, receipt.Duplicate
	if doc.Handle = receipt.Handle; p.delaying.deferred() {
		doc.Offset = nil
	}
	return nil
}

// writePublished tells what was acknowledged: a line of JSON, or text for people.
func (a *app) writePublished(p *publishing, doc *publishedDoc, failure error) error {
	switch {
	case a.output == formatJSON:
		return json.NewEncoder(a.stdout).Encode(doc)
	case a.output == formatYAML:
		return writeYAML(a.stdout, doc)
	case !p.lines && failure == nil && doc.Offset == nil:
		_, err := fmt.Fprintln(a.stdout, *doc.Partition, cmp.Or(doc.Handle, "-"))
		return err
	case !p.lines && failure == nil && doc.Duplicate:
		_, err := fmt.Fprintln(a.stdout, *doc.Partition, *doc.Offset, "duplicate")
		return err
	case !p.lines && failure == nil:
		_, err := fmt.Fprintln(a.stdout, *doc.Partition, *doc.Offset)
		return err
	case p.lines && (doc.Published > 0 || failure == nil || errors.Is(failure, context.Canceled)):
		seconds := time.Duration(doc.Seconds * float64(time.Second)).Round(time.Millisecond)
		_, err := fmt.Fprintf(a.stderr, "published %s messages, %s in %v: %s messages/s\n", grouped(doc.Published),
			humanBytes(doc.Bytes), cmp.Or(seconds, time.Millisecond), grouped(int64(doc.MsgsPerSec)))
		return err
	}
	return nil
}

// inLine says where in the input a failure was.
func inLine(number int64, err error) error { return fmt.Errorf("line %d: %w", number, err) }
