// Package transport carries frames over QUIC: connections, streams, the reading and writing of frames, and
// nothing of what they mean.
//
//	frames ──▶ Lane ──▶ Stream ──▶ Conn ═══ QUIC ═══ Conn ──▶ Stream ──▶ Reader ──▶ frames
//	          (batches what is queued                                  (checks lengths before it
//	           while a write is under way)                              allocates)
//
// Everything above sees only Conn and Stream, so that tests run over Pipe, in memory, and another carrier
// can take the place of QUIC. An error that ends a stream or connection travels as the number of its code.
//
// Over QUIC the dialing side opens the streams; Pipe lets both. Dial and Listen have a UDP socket each, which
// on Linux reads with receive offload, and give it back when the connection or the Listener was closed.
//
// Ownership: a Stream has one reader and one writer at a time. A Lane serialises writers. A Conn may be used
// by any number of goroutines. Closing a Conn ends its streams.
//
// Batching is natural: there is no timer. A frame sent on an idle lane is written at once, by whoever sends
// it; what comes while that write is under way goes with the next.
package transport
