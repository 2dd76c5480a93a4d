package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	natsSubject = "bench"
	natsBacklog = 1_000_000 // messages the subscriber may be behind before the publisher waits
	natsBatch   = 256       // messages between two looks at the clock and the backlog
)

// natsServer is the server process: it prints its address and serves until standard input ends.
func natsServer(in io.Reader, out io.Writer) error {
	certificate, err := throwawayCertificate()
	if err != nil {
		return err
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, TLSTimeout: 5,
		TLSConfig:  &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13},
		MaxPending: 256 << 20,
	})
	if err != nil {
		return err
	}
	go s.Start() // ends with Shutdown, which WaitForShutdown waits for
	if !s.ReadyForConnections(10 * time.Second) {
		return errors.New("nats-server was not ready within 10 s")
	}
	fmt.Fprintln(out, s.Addr())
	_, err = io.Copy(io.Discard, in)
	s.Shutdown()
	s.WaitForShutdown()
	return err
}

func throwawayCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour),
		NotAfter: now.Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// natsPeer is NATS core over TLS, with a connection to publish on and one to subscribe on.
type natsPeer struct {
	process *exec.Cmd
	input   io.Closer
	publish *nats.Conn
	deliver *nats.Conn

	sent      int64
	delivered atomic.Int64
	disorder  atomic.Int64
}

// startNATS starts the server process and connects.
func startNATS(ctx context.Context) (*natsPeer, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &natsPeer{process: exec.CommandContext(ctx, program, natsVerb)}
	p.process.Stderr = os.Stderr
	if p.input, err = p.process.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := p.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.process.Start(); err != nil {
		return nil, err
	}
	address, err := bufio.NewReader(output).ReadString('\n')
	if err == nil {
		err = p.connect("nats://" + strings.TrimSpace(address))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start NATS: %w", err), p.close())
	}
	return p, nil
}

func (p *natsPeer) connect(url string) (err error) {
	insecure := nats.Secure(&tls.Config{InsecureSkipVerify: true}) // both ends are this program
	if p.publish, err = nats.Connect(url, insecure); err != nil {
		return err
	}
	if p.deliver, err = nats.Connect(url, insecure); err != nil {
		return err
	}
	sub, err := p.deliver.Subscribe(natsSubject, p.take)
	if err != nil {
		return err
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return err
	}
	return p.deliver.Flush()
}

// take is called by one goroutine of the client library.
func (p *natsPeer) take(m *nats.Msg) {
	next := p.delivered.Load()
	if int64(binary.LittleEndian.Uint64(m.Data)) != next {
		p.disorder.Add(1)
	}
	p.delivered.Store(next + 1)
}

// Name implements benchkit.NetPeer.
func (p *natsPeer) Name() string {
	return "NATS core " + server.VERSION + " over TLS, nothing stored, no receipts"
}

// ServerPID implements benchkit.NetPeer.
func (p *natsPeer) ServerPID() int { return p.process.Process.Pid }

// Round implements benchkit.NetPeer.
func (p *natsPeer) Round(ctx context.Context, d time.Duration, size int) (float64, error) {
	value := make([]byte, size)
	before, start := p.sent, time.Now()
	for time.Since(start) < d && ctx.Err() == nil {
		if p.sent-p.delivered.Load() > natsBacklog {
			time.Sleep(time.Millisecond)
			continue
		}
		for range natsBatch {
			binary.LittleEndian.PutUint64(value, uint64(p.sent))
			if err := p.publish.Publish(natsSubject, value); err != nil {
				return 0, err
			}
			p.sent++
		}
	}
	if err := p.publish.Flush(); err != nil {
		return 0, err
	}
	for deadline := time.Now().Add(30 * time.Second); p.delivered.Load() < p.sent; {
		if time.Now().After(deadline) {
			return 0, fmt.Errorf("NATS delivered %d of %d messages", p.delivered.Load(), p.sent)
		}
		time.Sleep(time.Millisecond)
	}
	if n := p.disorder.Load(); n > 0 {
		return 0, fmt.Errorf("NATS: %d messages out of order", n)
	}
	return float64(p.sent-before) / time.Since(start).Seconds(), ctx.Err()
}

func (p *natsPeer) close() error {
	for _, conn := range []*nats.Conn{p.publish, p.deliver} {
		if conn != nil {
			conn.Close()
		}
	}
	return errors.Join(p.input.Close(), p.process.Wait())
}
