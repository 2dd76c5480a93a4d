//go:build arm64 && !leat_noasm

package ringbuf

// copiesInOrder says that [Reader] works here: stores become visible in their order, or fenceStores orders
// them, and so do the loads of copyWords.
const copiesInOrder = true

// fenceStores keeps later stores behind earlier ones: DMB ISHST.
func fenceStores()
