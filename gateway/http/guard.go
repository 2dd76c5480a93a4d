package httpdoor

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/transport/certs"
)

// ServeHTTP implements http.Handler: it turns away what must not reach a route.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := d.admit(r); err != nil {
		d.fail(w, r, err)
		return
	}
	if d.tokens != nil {
		p, err := d.authenticate(r)
		if err != nil {
			d.fail(w, r, err)
			return
		}
		r = r.WithContext(context.WithValue(r.Context(), principalKey{}, p))
	}
	d.mux.ServeHTTP(w, r)
}

func (d *Door) admit(r *http.Request) error {
	if d.ctx.Err() != nil {
		return core.NewError(core.CodeDraining, "serve HTTP", nil)
	}
	if d.hosts != nil && !d.hosts[hostName(r.Host)] && !loopbackAddress(hostName(r.Host)) {
		// A page whose name was made to point at this machine has that name here (DNS rebinding).
		return core.Errorf(core.CodeDenied, "serve HTTP", "the request is for host %s: want localhost or an "+
			"address of this machine", core.Quote(r.Host))
	}
	return checkOrigin(r)
}

// checkOrigin refuses what a browser sends for a page of another site. Other programs name no origin.
func checkOrigin(r *http.Request) error {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	page, err := url.Parse(origin)
	if err != nil || page.Host == "" || !strings.EqualFold(page.Host, r.Host) {
		return core.Errorf(core.CodeDenied, "serve HTTP", "a page of %s may not call %s",
			core.Quote(origin), core.Quote(r.Host))
	}
	return nil
}

// hostNames are the names that Host may have. Beyond this machine certificates guard the door, and any name
// will do unless some are given.
func (cfg *Config) hostNames() map[string]bool {
	if !certs.IsLoopback(cfg.Listen) && len(cfg.Hosts) == 0 {
		return nil
	}
	names := map[string]bool{"localhost": true, hostName(cfg.Listen): true}
	for _, name := range cfg.Hosts {
		names[strings.ToLower(name)] = true
	}
	return names
}

func hostName(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	return strings.ToLower(host)
}

func loopbackAddress(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// enter takes a place among the streams. leave gives it back.
func (d *Door) enter() (leave func(), err error) {
	if d.streams.Add(1) > int64(d.limits.Streams) {
		d.streams.Add(-1)
		return nil, core.Errorf(core.CodeLimited, "serve HTTP", "more than %d streams (Limits.Streams)",
			d.limits.Streams)
	}
	return func() { d.streams.Add(-1) }, nil
}

// streamContext ends with the request, and when the door closes.
func (d *Door) streamContext(r *http.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(d.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}
