package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat/core"
	httpdoor "github.com/leatbus/leat/gateway/http"
)

func newPush(a *app) *cobra.Command {
	group := &cobra.Command{
		Use:   "push",
		Short: "Post the messages of a topic to a URL",
		Long: "A push subscription is a member of a group that posts each message to a URL, signed, and tries\n" +
			"again what fails. It lives on the node whose HTTP door made it (leat serve --gateway).",
		Example: examples("leat push ls",
			"leat push add shop --topic trades --url https://shop.example.com/hook"),
	}
	door := &doorFlags{}
	door.add(group)
	group.AddCommand(newPushAdd(a, door), newPushList(a, door), newPushShow(a, door),
		newPushVerb(a, door, "pause", "paused", "Stop to post"),
		newPushVerb(a, door, "resume", "resumed", "Begin to post again"),
		newPushRotate(a, door), newPushRemove(a, door))
	asGroup(group)
	return group
}

// onPush calls a path below a push subscription.
func (a *app) onPush(cmd *cobra.Command, door *doorFlags, method, name, below string, in, out any) error {
	if err := core.ValidateName("push subscription", name); err != nil {
		return err
	}
	c, err := a.door(cmd, door)
	if err != nil {
		return err
	}
	return c.call(cmd.Context(), method, "/v1/push/"+name+below, in, out)
}

// pushAddition is the body of a request to add one.
type pushAddition struct {
	httpdoor.PushConfig
	Secret string `json:"secret,omitempty"`
	Paused bool   `json:"paused,omitempty"`
}

// pushAddFlags are those of leat push add.
type pushAddFlags struct {
	config             httpdoor.PushConfig
	timeout            time.Duration
	attempts           int
	retryMin, retryMax time.Duration
	secretFile         string
	paused             bool
}

func (f *pushAddFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	c := &f.config
	flags.StringVar(&c.Topic, "topic", "", "topic whose messages are posted")
	flags.StringVar(&c.URL, "url", "", "URL that gets a POST for each message")
	flags.StringVar(&c.Group, "group", "", "group of the topic (push.NAME)")
	flags.BoolVar(&c.Ordered, "ordered", false, "keep the order of each key: its messages go one by one")
	flags.IntVar(&c.Concurrency, "concurrency", 10, "POSTs at a time, 256 at most")
	flags.Int64Var(&c.Rate, "rate", 0, "POSTs a second at most; 0: any number")
	flags.DurationVar(&f.timeout, "post-timeout", 10*time.Second, "for a POST and its answer")
	flags.IntVar(&f.attempts, "max-attempts", 16, "until a message is a dead letter; -1: any number")
	flags.DurationVar(&f.retryMin, "retry-min", time.Second, "pause after the first POST that failed")
	flags.DurationVar(&f.retryMax, "retry-max", time.Hour, "longest pause")
	flags.StringVar(&f.secretFile, "secret-file", "", "file with the secret for signatures; else one is made")
	flags.BoolVar(&f.paused, "paused", false, "do not begin yet")
}

// body reads the flags.
func (f *pushAddFlags) body(cmd *cobra.Command, name string) (*pushAddition, error) {
	body := &pushAddition{PushConfig: f.config, Paused: f.paused}
	body.Name, body.MaxAttempts = name, int32(max(min(f.attempts, 1<<30), -1))
	switch {
	case body.Topic == "":
		return nil, usagef(cmd, "--topic is missing")
	case body.URL == "":
		return nil, usagef(cmd, "--url is missing")
	}
	for _, d := range []struct {
		flag   string
		value  time.Duration
		millis *int64
	}{
		{"post-timeout", f.timeout, &body.TimeoutMS}, {"retry-min", f.retryMin, &body.RetryMinMS},
		{"retry-max", f.retryMax, &body.RetryMaxMS},
	} {
		if d.value < time.Millisecond {
			return nil, usagef(cmd, "--%s %v: want 1ms or more", d.flag, d.value)
		}
		*d.millis = d.value.Milliseconds()
	}
	if f.secretFile != "" {
		var err error
		if body.Secret, err = readSecret(f.secretFile); err != nil {
			return nil, err
		}
	}
	return body, nil
}

func newPushAdd(a *app, door *doorFlags) *cobra.Command {
	var flags pushAddFlags
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Post the messages of a topic to a URL from now on, and print the secret once",
		Long: "The group begins with the earliest message of the topic. Each POST is signed with the secret\n" +
			"(Standard Webhooks), which is not shown again.",
		Example: examples("leat push add shop --topic trades --url https://shop.example.com/hook",
			"leat push add shop --topic trades --url https://shop.example.com/hook --group billing --ordered"+
				" --concurrency 4 --rate 100 --post-timeout 5s --max-attempts 20 --retry-max 10m",
			"leat push add shop --topic trades --url https://shop.example.com/hook --paused -o json"),
		Args: oneArgument("NAME"),
	}
	flags.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body, err := flags.body(cmd, args[0])
		if err != nil {
			return err
		}
		c, err := a.door(cmd, door)
		if err != nil {
			return err
		}
		var made httpdoor.PushSecret
		if err := c.call(cmd.Context(), http.MethodPost, "/v1/push", body, &made); err != nil {
			return err
		}
		return a.writeSecret(&made)
	}
	return cmd
}

// writeSecret prints a secret, which is told this once.
func (a *app) writeSecret(made *httpdoor.PushSecret) error {
	return a.write(made, func() error {
		_, err := fmt.Fprintf(a.stdout, "%s\n", printable(made.Secret))
		return err
	})
}

func newPushList(a *app, door *doorFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Short:   "List the push subscriptions of the node",
		Example: examples("leat push ls", "leat push ls -o json"),
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.door(cmd, door)
			if err != nil {
				return err
			}
			all, err := c.pushes(cmd.Context())
			if err != nil {
				return err
			}
			return a.write(all, func() error {
				grid := newGrid(a.stdout, "name", "topic", "group", "state", "#delivered", "#failed", "last error")
				for i := range all {
					p := &all[i]
					text := ""
					if p.LastError != nil {
						text = p.LastError.Text
					}
					grid.row(p.Name, p.Topic, p.Group, p.State, grouped(p.Delivered), grouped(p.Failed), text)
				}
				return grid.flush()
			})
		},
	}
}

// pushes lists all of them, page by page.
func (c *doorClient) pushes(ctx context.Context) ([]httpdoor.Push, error) {
	all := []httpdoor.Push{}
	for cursor := ""; ; {
		var page struct {
			Subscriptions []httpdoor.Push `json:"subscriptions"`
			Next          string          `json:"next"`
		}
		query := "?limit=1000&cursor=" + url.QueryEscape(cursor)
		if err := c.call(ctx, http.MethodGet, "/v1/push"+query, nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Subscriptions...)
		if page.Next <= cursor {
			return all, nil
		}
		cursor = page.Next
	}
}

func newPushShow(a *app, door *doorFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "show NAME",
		Short:   "Show a push subscription, its state and the last POST that failed",
		Example: examples("leat push show orders", "leat push show orders -o yaml"),
		Args:    oneArgument("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var p httpdoor.Push
			if err := a.onPush(cmd, door, http.MethodGet, args[0], "", nil, &p); err != nil {
				return err
			}
			return a.write(p, func() error { return a.writePush(&p) })
		},
	}
}

// writePush shows one to people.
func (a *app) writePush(p *httpdoor.Push) error {
	grid := newGrid(a.stdout, "push", p.Name)
	millis := func(n int64) string { return (time.Duration(n) * time.Millisecond).String() }
	grid.row("topic", p.Topic)
	grid.row("group", p.Group)
	grid.row("url", p.URL)
	grid.row("state", p.State)
	if p.Reason != "" {
		grid.row("reason", p.Reason)
	}
	grid.row("ordered", strconv.FormatBool(p.Ordered))
	grid.row("concurrency", strconv.Itoa(p.Concurrency))
	grid.row("rate", strconv.FormatInt(p.Rate, 10))
	grid.row("post timeout", millis(p.TimeoutMS))
	grid.row("max attempts", strconv.Itoa(int(p.MaxAttempts)))
	grid.row("retry", millis(p.RetryMinMS)+" to "+millis(p.RetryMaxMS))
	grid.row("secrets", strconv.Itoa(p.Secrets))
	grid.row("created", p.Created.UTC().Format(time.RFC3339))
	grid.row("delivered", grouped(p.Delivered))
	grid.row("failed", grouped(p.Failed))
	grid.row("in flight", grouped(p.InFlight))
	if f := p.LastError; f != nil {
		grid.row("last error", f.Text)
		grid.row("  at", f.Time.UTC().Format(time.RFC3339))
		grid.row("  message", fmt.Sprintf("partition %d, offset %d, attempt %d", f.Partition, f.Offset, f.Attempt))
		if f.Body != "" {
			grid.row("  answer", f.Body)
		}
	}
	return grid.flush()
}

// pushChanged says what a verb did.
type pushChanged struct {
	Name  string `json:"name"`
	State string `json:"state"`
}

func (a *app) writePushChanged(name, state string) error {
	return a.write(pushChanged{name, state}, func() error {
		_, err := fmt.Fprintf(a.stdout, "%s %s\n", state, printable(name))
		return err
	})
}

func newPushVerb(a *app, door *doorFlags, verb, done, short string) *cobra.Command {
	return &cobra.Command{
		Use:     verb + " NAME",
		Short:   short,
		Example: examples("leat push "+verb+" orders", "leat push "+verb+" orders -o json"),
		Args:    oneArgument("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var p httpdoor.Push
			if err := a.onPush(cmd, door, http.MethodPost, args[0], "/"+verb, nil, &p); err != nil {
				return err
			}
			return a.writePushChanged(p.Name, done)
		},
	}
}

// pushRotation is the body of a request to change the secret.
type pushRotation struct {
	Secret string `json:"secret,omitempty"`
	KeepMS int64  `json:"keep_ms"`
}

func newPushRotate(a *app, door *doorFlags) *cobra.Command {
	var keep time.Duration
	var file string
	cmd := &cobra.Command{
		Use:   "rotate NAME",
		Short: "Change the secret, and print the new one once",
		Long: "Until --keep is over POSTs have signatures of the secrets before, too, so that a receiver may\n" +
			"change to the new one meanwhile. --keep 0s ends those before at once.",
		Example: examples("leat push rotate orders", "leat push rotate orders --keep 1h"),
		Args:    oneArgument("NAME"),
	}
	cmd.Flags().DurationVar(&keep, "keep", 24*time.Hour, "how long those before sign, too; 30 days at most")
	cmd.Flags().StringVar(&file, "secret-file", "", "file with the new secret; without it one is made")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if keep < 0 {
			return usagef(cmd, "--keep %v: want 0s or more", keep)
		}
		body := &pushRotation{KeepMS: keep.Milliseconds()}
		if file != "" {
			var err error
			if body.Secret, err = readSecret(file); err != nil {
				return err
			}
		}
		var made httpdoor.PushSecret
		if err := a.onPush(cmd, door, http.MethodPost, args[0], "/secret", body, &made); err != nil {
			return err
		}
		return a.writeSecret(&made)
	}
	return cmd
}

func newPushRemove(a *app, door *doorFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "rm NAME",
		Short:   "Remove a push subscription; its group stays until leat group rm",
		Example: examples("leat push rm orders", "leat push rm orders -o json"),
		Args:    oneArgument("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := a.onPush(cmd, door, http.MethodDelete, args[0], "", nil, nil); err != nil {
				return err
			}
			return a.writePushChanged(args[0], "removed")
		},
	}
}
