package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/transport/certs"
)

const (
	defaultServer  = "127.0.0.1:4740"
	defaultTimeout = 5 * time.Second
	// forever is how long a publish or a subscription waits for a server that was reached once.
	forever = 365 * 24 * time.Hour
)

// app is what all commands share.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	// Whether somebody is there to read or to answer.
	stdinTerminal, stdoutTerminal, stderrTerminal bool
	// size is that of the terminal on standard output; 0 where it is not known.
	size func() (columns, rows int)

	clock clock.Clock
	dial  func(ctx context.Context, address string, options ...leat.DialOption) (*leat.Bus, error)

	// The following are the flags of every command.
	output  format
	server  string
	tls     tlsFiles
	token   string // file with the secret
	timeout time.Duration
}

// tlsFiles are the certificates of a client: whom it trusts and who it is.
type tlsFiles struct{ ca, cert, key string }

func newApp(stdin io.Reader, stdout, stderr io.Writer) *app {
	return &app{
		stdin: stdin, stdout: stdout, stderr: stderr,
		stdinTerminal: isTerminalFile(stdin), stdoutTerminal: isTerminalFile(stdout),
		stderrTerminal: isTerminalFile(stderr),
		size:           func() (columns, rows int) { return sizeOf(stdout) },
		clock:          clock.System, dial: leat.Dial, output: formatTable,
	}
}

func sizeOf(stream any) (columns, rows int) {
	if file, ok := stream.(*os.File); ok {
		return terminalSize(file)
	}
	return 0, 0
}

func isTerminalFile(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && isTerminal(file)
}

func (a *app) addFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	flags.VarP(&a.output, "output", "o", "format of the result on standard output (LEAT_OUTPUT)")
	flags.StringVarP(&a.server, "server", "s", defaultServer,
		"one or several servers, as in a:4740,b:4740 (LEAT_SERVER)")
	flags.StringVar(&a.tls.ca, "tls-ca", "", "file with the CA of the server (LEAT_TLS_CA)")
	flags.StringVar(&a.tls.cert, "tls-cert", "", "file with the certificate of this client (LEAT_TLS_CERT)")
	flags.StringVar(&a.tls.key, "tls-key", "", "file with its key (LEAT_TLS_KEY)")
	flags.StringVar(&a.token, "token-file", "",
		"file with the secret of a token for the server (LEAT_TOKEN_FILE; LEAT_TOKEN is the secret itself)")
	flags.DurationVar(&a.timeout, "timeout", defaultTimeout, "how long to wait for an answer of the server")
}

// takeEnvironment fills what no flag has set.
func (a *app) takeEnvironment(cmd *cobra.Command) error {
	for flag, variable := range map[string]string{
		"output": "LEAT_OUTPUT", "server": "LEAT_SERVER",
		"tls-ca": "LEAT_TLS_CA", "tls-cert": "LEAT_TLS_CERT", "tls-key": "LEAT_TLS_KEY",
		"token-file": "LEAT_TOKEN_FILE",
	} {
		value := os.Getenv(variable)
		if f := cmd.InheritedFlags().Lookup(flag); value == "" || f == nil || f.Changed {
			continue
		} else if err := f.Value.Set(value); err != nil {
			return usagef(cmd, "%s %q: %v", variable, value, err)
		}
	}
	if a.timeout <= 0 {
		return usagef(cmd, "--timeout %v: want a duration above 0", a.timeout)
	}
	return nil
}

// connect dials the server within --timeout. The bus must be closed.
func (a *app) connect(ctx context.Context, options ...leat.DialOption) (*leat.Bus, error) {
	config, err := a.tls.config()
	if err != nil {
		return nil, err
	}
	if config != nil {
		options = append(options, leat.WithTLS(config))
	}
	secret, err := a.secret()
	if err != nil {
		return nil, err
	}
	if secret != "" {
		options = append(options, leat.WithToken(secret))
	}
	dialing, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	bus, err := a.dial(dialing, a.server, append(options, leat.WithClientName("leat"), leat.WithRefusal())...)
	if ctx.Err() != nil && err != nil {
		return nil, ctx.Err()
	}
	return bus, a.late("connect to "+core.Quote(a.server), err)
}

// late turns the end of --timeout into an error that says so.
func (a *app) late(op string, err error) error {
	if _, ours := errors.AsType[*core.Error](err); ours || !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return core.Errorf(core.CodeUnavailable, op, "no answer within %v", a.timeout)
}

// request connects, runs f within --timeout, and disconnects.
func (a *app) request(cmd *cobra.Command, f func(ctx context.Context, bus *leat.Bus) error) error {
	bus, err := a.connect(cmd.Context())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), a.timeout)
	defer cancel()
	if err := f(ctx, bus); err != nil {
		_ = bus.Close() // the error that matters is the first
		return a.late(cmd.Name(), err)
	}
	return bus.Close()
}

// config is nil if no file was named: then the system and the development CA of this user decide.
func (f tlsFiles) config() (*tls.Config, error) {
	if f == (tlsFiles{}) {
		return nil, nil
	}
	return certs.ClientTLS(f.ca, f.cert, f.key)
}
