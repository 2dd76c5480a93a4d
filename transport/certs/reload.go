package certs

import (
	"crypto/x509"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/leatbus/leat/internal/clock"
)

// reloadEvery is the least time between two looks at the files.
const reloadEvery = 2 * time.Second

// reloader keeps the newest good material of a set of files. Handshakes look for changes; one at a time
// does, the others go on with what there is.
type reloader struct {
	certFile, keyFile, clientCAFile string
	usages                          []x509.ExtKeyUsage
	clock                           clock.Clock
	logger                          *slog.Logger
	current                         atomic.Pointer[material]

	looking atomic.Bool
	// The following is owned by the goroutine that set looking.
	stamps   [3]stamp // of the files behind current
	reported string   // the failure that was logged last
	lookedAt atomic.Int64
}

// stamp tells two states of a file apart without reading it.
type stamp struct {
	modified time.Time
	size     int64
}

func newReloader(certFile, keyFile, clientCAFile string, c clock.Clock, options []Option,
	usages ...x509.ExtKeyUsage) (*reloader, error) {
	r := &reloader{certFile: certFile, keyFile: keyFile, clientCAFile: clientCAFile, usages: usages, clock: c,
		logger: slog.New(slog.DiscardHandler)}
	for _, option := range options {
		option(r)
	}
	// Stamps are taken before the files are read: a change in between is found by the next look.
	r.stamps = r.stat()
	m, err := r.readMaterial()
	if err != nil {
		return nil, err
	}
	r.current.Store(m)
	r.lookedAt.Store(c.Mono())
	return r, nil
}

func (r *reloader) stat() [3]stamp {
	var stamps [3]stamp
	for i, name := range []string{r.certFile, r.keyFile, r.clientCAFile} {
		if name == "" {
			continue
		}
		if info, err := os.Stat(name); err == nil {
			stamps[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return stamps
}

// latest returns the newest good material, after a look at the files if one is due.
func (r *reloader) latest() *material {
	if r.clock.Mono()-r.lookedAt.Load() >= int64(reloadEvery) && r.looking.CompareAndSwap(false, true) {
		r.look()
		r.lookedAt.Store(r.clock.Mono())
		r.looking.Store(false)
	}
	return r.current.Load()
}

// look reads files that changed. Files that are being replaced one by one do not fit together for a moment,
// so a failure is tried again at the next look; it is logged once.
func (r *reloader) look() {
	stamps := r.stat()
	if stamps == r.stamps {
		return
	}
	m, err := r.readMaterial()
	if err != nil {
		if text := err.Error(); text != r.reported {
			r.reported = text
			r.logger.Error("certificate files changed but are not usable; the last good ones stay in use",
				"error", err, "cert", r.certFile)
		}
		return
	}
	if r.clientCAFile == "" || stamps[2] == r.stamps[2] {
		m.clients = r.current.Load().clients
	}
	r.stamps, r.reported = stamps, ""
	r.current.Store(m)
	r.logger.Info("certificate files reloaded", "cert", r.certFile,
		"not_after", m.certificate.Leaf.NotAfter.UTC())
}
