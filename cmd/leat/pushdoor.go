package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat/core"
	httpdoor "github.com/leatbus/leat/gateway/http"
)

const (
	defaultGateway  = "http://127.0.0.1:4742"
	doorAnswerBytes = 16 << 20
)

// doorFlags say where the HTTP door is.
type doorFlags struct{ url string }

func (f *doorFlags) add(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&f.url, "gateway", defaultGateway,
		"URL of the HTTP door of the node (LEAT_GATEWAY)")
}

// doorClient calls the HTTP door of a node.
type doorClient struct {
	app    *app
	base   string
	secret string
	client *http.Client
}

// door reads the flags.
func (a *app) door(cmd *cobra.Command, f *doorFlags) (*doorClient, error) {
	address := f.url
	if given := os.Getenv("LEAT_GATEWAY"); given != "" && !cmd.Flags().Changed("gateway") {
		address = given
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, usagef(cmd, "--gateway %q: want a URL, as in %s", address, defaultGateway)
	}
	c := &doorClient{app: a, base: strings.TrimSuffix(address, "/")}
	if c.secret, err = a.secret(); err != nil {
		return nil, err
	}
	config, err := a.tls.config()
	if err != nil {
		return nil, err
	}
	c.client = &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true,
		DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // a token goes nowhere else
	}}
	return c, nil
}

// call makes a request within --timeout. in and out may be nil.
func (c *doorClient) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.app.timeout)
	defer cancel()
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return core.NewError(core.CodeInternal, "spell a request", err)
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return core.NewError(core.CodeInvalidConfig, "call "+core.Quote(c.base), err)
	}
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.secret != "" {
		request.Header.Set("Authorization", "Bearer "+c.secret)
	}
	response, err := c.client.Do(request)
	if err != nil {
		return c.unreachable(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, doorAnswerBytes))
	if err != nil {
		return c.unreachable(err)
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return c.problem(response.StatusCode, text)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return core.NewError(core.CodeProtocol, "read the answer of "+core.Quote(c.base), err)
	}
	return nil
}

func (c *doorClient) unreachable(err error) error {
	op := "call " + core.Quote(c.base)
	if errors.Is(err, context.Canceled) {
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return core.Errorf(core.CodeUnavailable, op, "no answer within %v", c.app.timeout)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	e := core.NewError(core.CodeUnavailable, op, err)
	e.Hint = "check --gateway, and that leat serve --gateway runs there"
	return e
}

// problem makes an error of a failed answer.
func (c *doorClient) problem(status int, text []byte) error {
	op := "call " + core.Quote(c.base)
	var p httpdoor.Problem
	number, found := "", false
	if json.Unmarshal(text, &p) == nil {
		number, found = strings.CutPrefix(p.Code, "LEAT-")
	}
	code, err := strconv.ParseUint(number, 10, 16)
	if !found || err != nil {
		return core.Errorf(core.CodeProtocol, op, "status %d without a problem of Leat", status)
	}
	e := core.NewError(core.Code(code), "", errors.New(p.Detail))
	e.Hint = p.Hint
	if status == http.StatusNotFound && e.Code == core.CodeInvalidRequest {
		hint := "leat push ls lists what there is"
		if strings.Contains(p.Detail, "no such path") {
			hint = "the server is older than this command, or has no push subscriptions"
		}
		return &absentError{err: errors.New(p.Detail), hint: hint}
	}
	return e
}
