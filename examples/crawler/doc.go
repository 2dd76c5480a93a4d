// Command crawler crawls a small web of several hosts, which it serves itself, and ends when nothing is left.
//
//	          ┌──────────────── links, by host, id = URL ────────────────┐
//	          ▼                                                          │
//	start ──▶ topic frontier ──▶ key-shared group crawlers ──fetch──▶ host ──▶ page
//	          (dedup window)      (by host)                   └─ 503 ──▶ again, when the host says
//	                                                          └─ 500, three times ──▶ dead letters
//
// The frontier, the URLs that are to be fetched, is a topic. A URL that is found again is published again
// under its id, and the bus stores nothing. The host is the key: of each host one page is fetched at a time,
// in the order in which they were found, however many crawlers there are. A page is acknowledged only when
// the host has had its rest, so the next one of that host waits as long, while the crawler goes on with
// others.
package main
