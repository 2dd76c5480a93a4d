package benchkit

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/leatbus/leat/internal/clock"
)

// The floor of everything on the network: the QUIC library as it comes, one stream, no frames.
const (
	echoProtocol = "leat-bench-echo"
	echoBlock    = 64 << 10
)

func echoConfig() *quic.Config {
	return &quic.Config{MaxIdleTimeout: 30 * time.Second, KeepAlivePeriod: 5 * time.Second}
}

// echoServer sends back what comes on every stream.
type echoServer struct {
	listener *quic.Listener
	work     sync.WaitGroup
}

func startEcho() (*echoServer, error) {
	certificate, err := throwawayCertificate()
	if err != nil {
		return nil, err
	}
	listener, err := quic.ListenAddr("127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{certificate}, NextProtos: []string{echoProtocol},
	}, echoConfig())
	if err != nil {
		return nil, fmt.Errorf("benchkit: listen for the echo: %w", err)
	}
	s := &echoServer{listener: listener}
	s.work.Go(s.accept)
	return s, nil
}

func (s *echoServer) addr() string { return s.listener.Addr().String() }

func (s *echoServer) close() error {
	err := s.listener.Close()
	s.work.Wait()
	return err
}

func (s *echoServer) accept() {
	for {
		conn, err := s.listener.Accept(context.Background())
		if err != nil {
			return
		}
		s.work.Go(func() {
			for {
				stream, err := conn.AcceptStream(context.Background())
				if err != nil {
					return
				}
				s.work.Go(func() { echo(stream) })
			}
		})
	}
}

func echo(stream *quic.Stream) {
	buf := make([]byte, echoBlock)
	for {
		n, err := stream.Read(buf)
		if n > 0 {
			if _, err := stream.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			_ = stream.Close() // the other side has gone
			return
		}
	}
}

// throwawayCertificate is good for one run: nobody checks it.
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

// dialEcho opens one stream to the echo.
func dialEcho(ctx context.Context, address string) (*quic.Conn, *quic.Stream, error) {
	conn, err := quic.DialAddr(ctx, address, &tls.Config{
		InsecureSkipVerify: true, // the floor carries nothing
		NextProtos:         []string{echoProtocol},
	}, echoConfig())
	if err != nil {
		return nil, nil, fmt.Errorf("benchkit: dial the echo: %w", err)
	}
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, conn.CloseWithError(0, ""))
	}
	return conn, stream, nil
}

// echoThroughput sends blocks for about d and gives the bytes per second that came back.
func echoThroughput(ctx context.Context, address string, d time.Duration) (float64, error) {
	conn, stream, err := dialEcho(ctx, address)
	if err != nil {
		return 0, err
	}
	sent := make(chan error, 1)
	start := clock.System.Mono()
	go func() { // ends with the stream; the reader below waits for it
		block := make([]byte, echoBlock)
		var err error
		for clock.System.Mono()-start < int64(d) && err == nil {
			_, err = stream.Write(block)
		}
		sent <- errors.Join(err, stream.Close())
	}()
	bytes, readErr := io.CopyBuffer(io.Discard, struct{ io.Reader }{stream}, make([]byte, echoBlock))
	elapsed := clock.System.Mono() - start
	err = errors.Join(readErr, <-sent, conn.CloseWithError(0, ""))
	return perSecond(bytes, elapsed), err
}
