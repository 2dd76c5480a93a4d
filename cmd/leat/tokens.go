package main

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// tokenFile is a file of tokens that is read again when it has changed, at most every tokenEvery.
type tokenFile struct {
	path   string
	clock  clock.Clock
	logger *slog.Logger
	tokens atomic.Pointer[core.Tokens]

	looking sync.Mutex // held by who looks at the file; others go on with what there is
	looked  int64      // monotonic
	seen    fileState
}

const tokenEvery = 2 * time.Second

// fileState is what tells that a file has changed.
type fileState struct {
	modified time.Time
	size     int64
}

func openTokens(path string, c clock.Clock, logger *slog.Logger) (*tokenFile, error) {
	f := &tokenFile{path: path, clock: c, logger: logger, looked: c.Mono()}
	if err := f.read(); err != nil {
		return nil, err
	}
	return f, nil
}

// read takes the file as it is, unless others may write it.
func (f *tokenFile) read() error {
	info, err := os.Stat(f.path)
	if err != nil {
		return f.unreadable(err)
	}
	f.seen = fileState{info.ModTime(), info.Size()}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 {
		return core.Errorf(core.CodeInvalidConfig, "read tokens", "%s may be written by other users: chmod 600 it",
			core.Quote(f.path))
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		return f.unreadable(err)
	}
	tokens, err := core.ParseTokens(string(text))
	if err != nil {
		return fmt.Errorf("leat: %s: %w", core.Quote(f.path), err)
	}
	f.tokens.Store(tokens)
	return nil
}

func (f *tokenFile) unreadable(err error) error {
	e := core.NewError(core.CodeInvalidConfig, "read tokens", err)
	e.Hint = "make the file with leat token create"
	return e
}

// principal is who shows a secret.
func (f *tokenFile) principal(secret string) *core.Principal {
	f.look()
	return f.tokens.Load().Principal(secret)
}

// look reads the file again if it has changed. What cannot be read is reported once, and the last good one
// stays.
func (f *tokenFile) look() {
	if !f.looking.TryLock() {
		return
	}
	defer f.looking.Unlock()
	now := f.clock.Mono()
	if now-f.looked < int64(tokenEvery) {
		return
	}
	f.looked = now
	var state fileState // zero: there is none
	if info, err := os.Stat(f.path); err == nil {
		state = fileState{info.ModTime(), info.Size()}
	}
	if f.seen == state {
		return
	}
	f.seen = state
	if err := f.read(); err != nil {
		f.logger.Warn("the tokens cannot be read again: those from before stay", "error", err)
	}
}

// secret is what the command shows servers that ask for a token; empty: nothing.
func (a *app) secret() (string, error) {
	if a.token == "" {
		return os.Getenv("LEAT_TOKEN"), nil
	}
	return readSecret(a.token)
}

// readSecret reads a file that has nothing but a secret.
func readSecret(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", core.NewError(core.CodeInvalidConfig, "read a secret", err)
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" || strings.ContainsAny(secret, " \t\r\n") {
		return "", core.Errorf(core.CodeInvalidConfig, "read a secret",
			"%s: want one word, as the secret that leat token create prints", core.Quote(path))
	}
	return secret, nil
}

func newToken(a *app) *cobra.Command {
	group := &cobra.Command{
		Use:   "token",
		Short: "Make tokens for clients",
		Long: "With leat serve --tokens FILE every client needs the secret of a token, with --gateway-tokens\n" +
			"FILE every request over HTTP; it may be one file. A line for each: name, hash of the secret,\n" +
			"scopes. Deleting a line takes the token back.",
		Example: examples("leat token create billing publish:orders.* read:orders.* --file tokens",
			"leat token create viewer read:* --file tokens"),
	}
	group.AddCommand(newTokenCreate(a))
	asGroup(group)
	return group
}

// createdToken is what token create tells. The keys are stable.
type createdToken struct {
	Name   string   `json:"name"`
	Secret string   `json:"secret"`
	Scopes []string `json:"scopes"`
	File   string   `json:"file"`
}

func newTokenCreate(a *app) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "create NAME SCOPE…",
		Short: "Make a token: add it to a file, and print its secret once",
		Long: "A scope is publish:TOPIC, read:TOPIC or admin; TOPIC may end with *, for all names that begin\n" +
			"so. The file gets the hash only: the secret cannot be shown again. Programs show it with\n" +
			"leat.WithToken, this command with --token-file or LEAT_TOKEN, HTTP clients as\n" +
			"Authorization: Bearer SECRET.",
		Example: examples("leat token create billing publish:orders.* read:orders.* --file tokens",
			"leat token create root admin --file tokens -o json"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) < 2:
				return usagef(cmd, "%d arguments: want NAME and at least one SCOPE", len(args))
			case file == "":
				return usagef(cmd, "--file is missing: want the file of tokens")
			}
			secret, err := addToken(file, args[0], args[1:])
			if err != nil {
				return err
			}
			return a.write(createdToken{args[0], secret, args[1:], file}, func() error {
				_, err := fmt.Fprintf(a.stdout, "%s\n", secret)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "file of tokens; made if it is absent")
	return cmd
}

// addToken appends a token to a file, after a look at what the file would be then.
func addToken(file, name string, scopes []string) (secret string, err error) {
	var random [32]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", core.NewError(core.CodeInternal, "make a secret", err)
	}
	secret = "leat_" + base64.RawURLEncoding.EncodeToString(random[:])
	before, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", core.NewError(core.CodeInvalidConfig, "read tokens", err)
	}
	line := name + " " + core.HashToken(secret) + " " + strings.Join(scopes, " ") + "\n"
	if n := len(before); n > 0 && before[n-1] != '\n' {
		line = "\n" + line
	}
	if _, err := core.ParseTokens(string(before) + line); err != nil {
		return "", err
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return "", core.NewError(core.CodeInvalidConfig, "write tokens", err)
	}
	_, err = f.WriteString(line)
	return secret, errors.Join(err, f.Close())
}
