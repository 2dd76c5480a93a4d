//go:build !(amd64 || 386 || arm64) || (arm64 && leat_noasm)

package ringbuf

const copiesInOrder = false

func fenceStores() {}
