// Package observe answers what people and machines ask a node over HTTP: /metrics, /livez and /readyz.
//
//	Prometheus ──GET /metrics──▶ page ◀── node.StatsOf, connections, certificates, disk
//	supervisor ──GET /readyz───▶ Observer ◀── Serves, Drains
//
// All figures are read when somebody asks; between two questions nothing runs. The metrics are those of the
// table families, no more and no fewer; docs/metrics.md has the same table. Names that clients give (topics,
// groups) make at most 10,000 series per family: what is beyond is summed up as "other".
//
// Ownership: an Observer holds the bus between Serves and the end of the process and never closes it.
// Failure behaviour: a bus that cannot be read leaves its families out; /metrics still answers, with those of
// the process, and leat_node_ready is 0.
package observe
