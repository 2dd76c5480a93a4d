// Command net compares Leat over QUIC with NATS core over TLS, in one run: each server in a process of its
// own, publisher and subscriber in this one, rounds in turning order.
//
//	publisher ──▶ leat serve, stored at page, receipts ──▶ subscriber
//	publisher ──▶ nats-server, nothing stored, no receipts ──▶ subscriber
//	writer    ──▶ bare QUIC stream, echoed               ──▶ reader     (the floor)
//
// Run it from the folder bench: go run ./net -for 5s -rounds 5
package main
