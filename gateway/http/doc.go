// Package httpdoor is the HTTP door of a bus: any language publishes and reads through it.
//
//	POST /v1/topics/{topic}/messages ──▶ raw body, NDJSON, CloudEvents ──▶ Producer ──▶ receipts
//	GET  /v1/topics/{topic}/messages ◀── a page and the cursor behind it ◀── Subscription
//	GET  /v1/topics/{topic}/events   ◀── server-sent events, whose ids are cursors ◀── Subscription
//	GET  /v1/topics, /v1/topics/{topic}, /openapi.json
//
// It uses the public API of package leat only, so it stands before an embedded bus as well as before a dialed
// one; before a node of a cluster it needs a dialed one, as embedded buses do not forward.
//
// Places. Where reading goes on in all partitions of a topic is one text, a cursor (type Cursor), that a
// client hands back as it was. The door keeps nothing for a client between two requests.
//
// Errors. Every failed answer is problem+json (RFC 9457) with the code, name and hint of core's table;
// statuses maps codes, and has all of them. What fails in the middle of a stream is told in the stream.
//
// Limits. Bodies, lines, what gzip makes of them, the sum of all bodies in memory, connections and streams
// are bounded; a client that does not read or write is cut off by deadlines. A slow client costs a goroutine
// and its bounded buffers: it reads the log at its own cursor and holds nobody up.
//
// Ownership. Open starts one goroutine that accepts; net/http starts one per connection; an NDJSON stream has
// one more, that its handler waits for. Close waits for all of them. The door is closed before its bus.
package httpdoor
