package transport

import (
	"crypto/tls"
	"os"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// Windows of flow control. A connection queues 256 received packets inside the process and drops what comes
// beyond them; the congestion control of the sender takes that for loss. On a short path nothing else holds
// bytes, so the first window stays below 256 packets of 1452 bytes. On a long path the network holds them,
// and a window must cover what is on its way.
const (
	firstWindow  = 320 << 10
	streamWindow = 8 << 20  // grows up to this
	connWindow   = 12 << 20 // grows up to this: 120 MB/s at 100 ms
	longPath     = 2 * time.Millisecond
)

// Defaults of DialConfig and ListenConfig.
const (
	defaultIdle      = 10 * time.Second
	defaultKeepAlive = 3 * time.Second
	defaultHandshake = 2 * time.Second
	defaultStreams   = 1024
	defaultRate      = 200
	defaultBudget    = 256 << 20
)

// keepQuiet keeps the library from writing to stderr about the size of socket buffers: a host with small
// ones works, and a library has no business there. Whoever set the variable decides.
var keepQuiet = sync.OnceFunc(func() {
	const name = "QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING"
	if _, set := os.LookupEnv(name); !set {
		_ = os.Setenv(name, "true")
	}
})

// quicConfig is what both sides have in common: no 0-RTT, no datagrams, no streams of one direction.
func quicConfig(idle, keepAlive, handshake time.Duration) *quic.Config {
	keepQuiet()
	return &quic.Config{
		HandshakeIdleTimeout:           handshake,
		MaxIdleTimeout:                 orDefault(idle, defaultIdle),
		KeepAlivePeriod:                max(orDefault(keepAlive, defaultKeepAlive), 0),
		InitialStreamReceiveWindow:     firstWindow,
		MaxStreamReceiveWindow:         streamWindow,
		InitialConnectionReceiveWindow: firstWindow,
		MaxConnectionReceiveWindow:     connWindow,
		MaxIncomingStreams:             -1,
		MaxIncomingUniStreams:          -1,
	}
}

// tlsFor is a copy of cfg that speaks TLS 1.3 and these protocols only.
func tlsFor(cfg *tls.Config, protocols []string) *tls.Config {
	cfg = cfg.Clone()
	if cfg == nil {
		cfg = &tls.Config{}
	}
	cfg.MinVersion, cfg.MaxVersion = tls.VersionTLS13, 0
	cfg.NextProtos = protocols
	if choose := cfg.GetConfigForClient; choose != nil {
		cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			chosen, err := choose(hello)
			if chosen == nil || err != nil {
				return nil, err
			}
			return tlsFor(chosen, protocols), nil
		}
	}
	return cfg
}

// orDefault is v, or the default where v is 0.
func orDefault[T ~int64 | ~int](v, fallback T) T {
	if v == 0 {
		return fallback
	}
	return v
}
