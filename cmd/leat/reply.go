package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

// replying is what leat reply was asked for.
type replying struct {
	subscribing
	body        []byte // nil: the request itself
	exec        string
	concurrency int
}

func newReply(a *app) *cobra.Command {
	r := replying{concurrency: leat.DefaultConcurrency}
	cmd := &cobra.Command{
		Use:   "reply TOPIC [BODY]",
		Short: "Answer the requests on a topic",
		Long: "Answers each request with BODY, with what a command prints, or with the request itself, and\n" +
			"prints the request as leat sub does. --exec runs a command line of the shell for each: it gets\n" +
			"the value on standard input and LEAT_TOPIC, LEAT_KEY and LEAT_TIMEOUT_MS in its environment, and\n" +
			"is ended when nobody waits any more. If it fails, the requester is told what it wrote to standard\n" +
			"error.",
		Example: examples("leat reply trades 110.25 --count 1",
			"leat reply trades --exec 'tr a-z A-Z' --count 1 -o json"),
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usagef(cmd, "%d arguments: want TOPIC and BODY", len(args))
			}
			return nil
		},
		ValidArgsFunction: a.completeTopic,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r.topic = args[0]
		if len(args) > 1 {
			r.body = []byte(args[1])
		}
		if err := a.checkReply(cmd, &r); err != nil {
			return err
		}
		return a.reply(cmd.Context(), &r)
	}
	flags := cmd.Flags()
	flags.StringVar(&r.exec, "exec", "", "answer with what this command line prints")
	flags.Var(newPositive(func(n int64) { r.count = n }, 1<<62), "count", "end after so many requests")
	flags.Var(newPositive(func(n int64) { r.concurrency = int(n) }, core.MaxCallWindow), "concurrency",
		"requests answered at once (64)")
	flags.StringVarP(&r.format, "format", "f", "", `how to print a request (%v\n)`)
	return cmd
}

func (a *app) checkReply(cmd *cobra.Command, r *replying) error {
	if cmd.Flags().Changed("exec") && (r.body != nil || r.exec == "") {
		return usagef(cmd, "--exec and BODY: want one of them, and not empty")
	}
	return a.checkSub(cmd, &r.subscribing)
}

// reply answers until ctx ends, or as many requests as were asked for.
func (a *app) reply(ctx context.Context, r *replying) error {
	bus, err := a.connect(ctx, leat.WithUnreachableAfter(forever))
	if err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, a.timeout)
	_, err = findTopic(asking, bus, "answer requests on topic", r.topic)
	cancel()
	if err == nil {
		err = a.serveReplies(ctx, bus, r)
	} else {
		err = a.late("answer requests on "+core.Quote(r.topic), err)
	}
	return cmp.Or(err, bus.Close())
}

func (a *app) serveReplies(ctx context.Context, bus *leat.Bus, r *replying) error {
	serving, stop := context.WithCancel(ctx)
	defer stop()
	out := newPrinter(a.stdout, nil, stop)
	var taken, done atomic.Int64
	err := leat.Respond(serving, bus, r.topic, func(ctx context.Context, m *leat.Message) (leat.Message, error) {
		if n := taken.Add(1); r.count > 0 && n > r.count {
			return leat.Message{}, errors.New("the responder has answered as many as it was asked to")
		}
		err := out.print(m, func(dst []byte) ([]byte, error) { return a.appendCall(dst, m, r.layout) })
		if err != nil {
			return leat.Message{}, err
		}
		reply, err := a.answer(ctx, r, m)
		if done.Add(1) == r.count {
			stop()
		}
		return reply, err
	}, leat.Concurrency(r.concurrency))
	err = cmp.Or(err, out.close())
	if err == nil && r.count > 0 && done.Load() >= r.count {
		return nil
	}
	return cmp.Or(err, ctx.Err())
}

// answer gives the reply to one request.
func (a *app) answer(ctx context.Context, r *replying, m *leat.Message) (leat.Message, error) {
	switch {
	case r.exec != "":
		value, err := a.runShell(ctx, r.exec, m)
		return leat.Message{Value: value}, err
	case r.body != nil:
		return leat.Message{Value: r.body}, nil
	}
	return leat.Message{Key: m.Key, Value: m.Value, Headers: m.Headers}, nil
}

// shellWait is how long the output of a command that was ended may take to close.
const shellWait = time.Second

// runShell runs a command line with the value of a message on its standard input.
func (a *app) runShell(ctx context.Context, line string, m *leat.Message) ([]byte, error) {
	shell, flag := "sh", "-c"
	if runtime.GOOS == "windows" {
		shell, flag = "cmd", "/C"
	}
	cmd := exec.CommandContext(ctx, shell, flag, line)
	cmd.WaitDelay = shellWait
	cmd.Stdin = bytes.NewReader(m.Value)
	var out, failure bounded
	out.left, failure.left = core.MaxRecordBytes, maxShellError
	cmd.Stdout, cmd.Stderr = &out, &failure
	cmd.Env = append(os.Environ(), "LEAT_TOPIC="+m.Topic,
		"LEAT_KEY="+strings.ReplaceAll(string(m.Key), "\x00", "")) // which no environment can have
	if deadline, ok := ctx.Deadline(); ok {
		left := max(time.Duration(deadline.UnixNano()-a.clock.Now()), 0)
		cmd.Env = append(cmd.Env, "LEAT_TIMEOUT_MS="+strconv.FormatInt(left.Milliseconds(), 10))
	}
	err := cmd.Run()
	if text := strings.TrimSpace(failure.String()); err != nil && text != "" {
		return nil, fmt.Errorf("%w: %s", err, text)
	}
	if err == nil && out.over {
		err = core.Errorf(core.CodeRecordTooLarge, "reply", "the command printed more than %d bytes",
			core.MaxRecordBytes)
	}
	return append([]byte{}, out.Bytes()...), err
}

// maxShellError is how much a requester is told of what a command wrote to standard error.
const maxShellError = 1 << 10

// bounded keeps the beginning of what is written to it.
type bounded struct {
	bytes.Buffer
	left int
	over bool
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	kept := p[:min(len(p), b.left)]
	b.left -= len(kept)
	b.over = b.over || len(kept) < len(p)
	_, _ = b.Buffer.Write(kept) // never fails
	return len(p), nil
}
