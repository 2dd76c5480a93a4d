package httpdoor

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/coder/websocket"
	"github.com/danielgtaylor/huma/v2"

	"github.com/leatbus/leat/core"
)

const (
	socketBytes    = lineBytes // one frame of a client
	socketAhead    = 1024      // requests that are read before the first of them is answered
	socketQueue    = 1 << 20   // bytes that wait to be written, beside answers; then subscriptions wait
	socketSubs     = 16        // subscriptions of one connection
	socketTopics   = 64        // producers of one connection
	socketCredit   = 256       // messages that a subscription may be sent at first
	socketCreditUp = 1 << 20   // and at any time
)

func (d *Door) socketRoutes() {
	schemaOf[SocketRequest](d) // they are in the document for people
	schemaOf[SocketAnswer](d)
	d.handle(&huma.Operation{
		OperationID: "websocket", Method: http.MethodGet, Path: "/v1/ws",
		Summary: "Publish and follow over one WebSocket", Tags: []string{"publish", "read"},
		Description: "A WebSocket (RFC 6455) with a document of JSON in each text frame: see SocketRequest for " +
			"what a client sends, SocketAnswer for what it gets. Requests are answered in any order; ref tells which.",
		Parameters: []*huma.Param{headerParam("Upgrade", "websocket")},
		Responses:  map[string]*huma.Response{"101": {Description: "The connection is a WebSocket now"}},
		Errors:     []int{http.StatusBadRequest, http.StatusUpgradeRequired},
	}, d.socket)
}

// socket serves one WebSocket.
//
//	client ──frames──▶ handler: requests ──▶ producers, subscriptions
//	  ◀── writer ◀── queue ◀── answers, and messages while there is credit
//
// What a client may have unread is bounded: requests are not read while socketAhead of them are not answered,
// and subscriptions wait while socketQueue bytes do. One that takes nothing is cut off when a
// ping finds no answer.
//
// Invariant: who closes conn early calls stop after it, because the reader may wait for a place instead of a
// frame. Not before it: the end of ctx closes conn without a word.
type socket struct {
	door      *Door
	opened    *http.Request
	principal *core.Principal
	conn      *websocket.Conn
	ctx       context.Context // ends with the connection
	stop      context.CancelFunc
	ahead     chan struct{}  // a place for each request that is not answered
	tasks     sync.WaitGroup // subscriptions, the writer, pings

	reads   atomic.Int64 // odd while the reader waits for the client, and another number each time
	writing atomic.Bool  // the writer waits for the client

	// The following is the handler's.
	producers map[producerKey]*socketProducer
	subs      map[string]*socketSub

	mu    sync.Mutex // guards the following
	queue []socketFrame
	bytes int           // of those that are no answers
	wake  chan struct{} // capacity 1: the queue has grown
	room  chan struct{} // closed and replaced when it was emptied
}

// socketFrame waits to be written.
type socketFrame struct {
	text   []byte
	answer bool // to a request, whose place it gives back
}

// checkUpgrade says why a request makes no WebSocket.
func checkUpgrade(w http.ResponseWriter, r *http.Request) error {
	has := func(name, want string) bool {
		for _, value := range r.Header.Values(name) {
			for part := range strings.SplitSeq(value, ",") {
				if strings.EqualFold(strings.TrimSpace(part), want) {
					return true
				}
			}
		}
		return false
	}
	switch {
	case r.ProtoMajor != 1 || !has("Connection", "Upgrade") || !has("Upgrade", "websocket"):
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		return refuse(http.StatusUpgradeRequired, "open WebSocket", "want HTTP/1.1 with Connection: Upgrade and "+
			"Upgrade: websocket")
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		w.Header().Set("Sec-WebSocket-Version", "13")
		return refuse(http.StatusBadRequest, "open WebSocket", "Sec-WebSocket-Version %s: want 13",
			core.Quote(r.Header.Get("Sec-WebSocket-Version")))
	}
	key := r.Header.Values("Sec-Websocket-Key")
	if len(key) == 1 {
		if decoded, err := decodeBase64(strings.TrimSpace(key[0])); err == nil && len(decoded) == 16 {
			return nil
		}
	}
	return refuse(http.StatusBadRequest, "open WebSocket", "Sec-WebSocket-Key: want 16 bytes in base64, once")
}

func (d *Door) socket(w http.ResponseWriter, r *http.Request) error {
	if err := checkUpgrade(w, r); err != nil {
		return err
	}
	leave, err := d.enter()
	if err != nil {
		return err
	}
	defer leave()
	d.sockets.Add(1) // while Shutdown knows of the connection
	defer d.sockets.Done()
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		d.logger.Debug("a WebSocket could not be opened", "error", err)
		return nil // it is answered
	}
	conn.SetReadLimit(socketBytes)
	s := &socket{door: d, opened: r, principal: principalOf(r.Context()), conn: conn,
		ahead:     make(chan struct{}, socketAhead),
		producers: map[producerKey]*socketProducer{}, subs: map[string]*socketSub{},
		wake: make(chan struct{}, 1), room: make(chan struct{})}
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(r.Context()))
	drain := context.AfterFunc(d.ctx, func() {
		_ = conn.Close(websocket.StatusGoingAway, "the node drains") // who does not hear it is cut off
		s.stop()
	})
	s.tasks.Go(s.write)
	s.tasks.Go(s.ping)
	code, reason := s.read()
	if code != 0 {
		_ = conn.Close(code, reason) // who does not hear it has gone
	}
	s.stop()
	drain()
	_ = conn.CloseNow() // it may be closed
	s.tasks.Wait()
	s.close()
	return nil
}

// read takes requests until the connection ends, or has to: then it says how.
func (s *socket) read() (websocket.StatusCode, string) {
	for {
		s.reads.Add(1)
		kind, text, err := s.conn.Read(s.ctx)
		s.reads.Add(1)
		if err != nil {
			return 0, "" // the library has said why, if it was the client's doing
		}
		if kind != websocket.MessageText {
			return websocket.StatusUnsupportedData, "want text frames"
		}
		select {
		case s.ahead <- struct{}{}:
		case <-s.ctx.Done():
			return 0, ""
		}
		s.request(text)
	}
}

// push leaves a frame to the writer. Answers are bounded by their places, and others by wait.
func (s *socket) push(frame socketFrame) {
	s.mu.Lock()
	s.queue = append(s.queue, frame)
	if !frame.answer {
		s.bytes += len(frame.text)
	}
	s.mu.Unlock()
	nudge(s.wake)
}

// wait returns when there is room for a frame that is no answer, and false when the connection ends.
func (s *socket) wait(ctx context.Context) bool {
	for {
		s.mu.Lock()
		full, room := s.bytes >= socketQueue, s.room
		s.mu.Unlock()
		if !full {
			return ctx.Err() == nil
		}
		select {
		case <-room:
		case <-ctx.Done():
			return false
		}
	}
}

// answer answers one request.
func (s *socket) answer(a *SocketAnswer) {
	text, err := json.Marshal(a)
	if err != nil {
		panic("httpdoor: an answer that JSON cannot spell") // texts and numbers
	}
	s.push(socketFrame{text, true})
}

// tell sends something that nobody asked for.
func (s *socket) tell(a *SocketAnswer) {
	text, err := json.Marshal(a)
	if err != nil {
		panic("httpdoor: news that JSON cannot spell") // texts and numbers
	}
	s.push(socketFrame{text, false})
}

// write is the writer.
func (s *socket) write() {
	for {
		s.mu.Lock()
		frames := s.queue
		s.queue, s.bytes = nil, 0
		close(s.room)
		s.room = make(chan struct{})
		s.mu.Unlock()
		for i := range frames {
			s.writing.Store(true)
			err := s.conn.Write(s.ctx, websocket.MessageText, frames[i].text)
			s.writing.Store(false)
			if err != nil {
				_ = s.conn.CloseNow() // ends the reader
				s.stop()              // also where it waits for a place
				return
			}
			if frames[i].answer {
				<-s.ahead
			}
		}
		if len(frames) > 0 {
			continue
		}
		select {
		case <-s.wake:
		case <-s.ctx.Done():
			return
		}
	}
}

// ping cuts a client off that is dead, takes nothing, or is not who it was at the opening. It is told why, in
// case it looks.
func (s *socket) ping() {
	timer := s.door.clock.NewTimer(s.door.heartbeat)
	defer timer.Stop()
	for {
		select {
		case <-timer.C():
		case <-s.ctx.Done():
			return
		}
		why, err := "the token is gone, or has other scopes", s.allowed()
		if err == nil {
			why, err = "the client does not read: no pong in time", s.pinged()
		}
		if s.ctx.Err() != nil {
			return
		}
		if err != nil {
			s.door.logger.Info("a WebSocket is cut off: "+why, "error", err)
			_ = s.conn.Close(websocket.StatusPolicyViolation, why)
			s.stop()
			return
		}
		timer.Reset(s.door.heartbeat)
	}
}

// allowed returns an error where the client would be another one if it opened the connection now.
func (s *socket) allowed() error {
	if s.door.tokens == nil {
		return nil
	}
	p, err := s.door.authenticate(s.opened)
	if err == nil && !slices.Equal(p.Scopes, s.principal.Scopes) {
		err = core.Errorf(core.CodeDenied, "serve WebSocket", "%s has other scopes now", core.Quote(p.Name))
	}
	return err
}

// pinged returns an error where the client gives no sign of life, or the connection has ended.
func (s *socket) pinged() error {
	ctx, cancel := context.WithTimeout(s.ctx, s.door.pongWait)
	defer cancel()
	before := s.reads.Load()
	err := s.conn.Ping(ctx)
	for errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = s.conn.Ping(ctx) // the library waits 5 s at most for its turn among the frames
	}
	// Only the reader sees pongs. Where it was not waiting for the client all the time, and nothing waits to
	// be taken by the client, the bus may be what is slow.
	waited := before%2 == 1 && s.reads.Load() == before
	if errors.Is(err, context.DeadlineExceeded) && !waited && !s.writing.Load() {
		return nil
	}
	return err
}

// close gives back what the connection had. Answers of publishes under way go nowhere.
func (s *socket) close() {
	for _, p := range s.producers {
		_ = p.producer.Close() // what it could not publish was the client's to hear
	}
	for _, sub := range s.subs {
		_ = sub.sub.Close() // as when a client is lost
	}
}

// producerFor gives the producer of this connection for a topic.
func (s *socket) producerFor(key producerKey) (*socketProducer, error) {
	if p := s.producers[key]; p != nil {
		if !p.spoilt.Load() {
			return p, nil
		}
		delete(s.producers, key)
		_ = p.producer.Close() // its failures were answers
	}
	if len(s.producers) >= socketTopics {
		return nil, core.Errorf(core.CodeLimited, "publish", "more than %d topics and levels over one WebSocket",
			socketTopics)
	}
	producer, err := s.door.producers.openProducer(key)
	if err != nil {
		return nil, err
	}
	p := &socketProducer{producer: producer}
	s.producers[key] = p
	return p, nil
}
