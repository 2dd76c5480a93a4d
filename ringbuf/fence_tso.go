//go:build amd64 || 386

package ringbuf

// copiesInOrder says that [Reader] works here: stores become visible in their order, or fenceStores orders
// them, and so do the loads of copyWords.
const copiesInOrder = true

// fenceStores keeps later stores behind earlier ones; x86 does so by itself.
func fenceStores() {}
