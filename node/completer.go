package node

import "slices"

// completer is told what became of the entries that name its place in the table of producers: the
// producers of this process, and the sessions of remote ones. complete is called under the lock of the
// shard s and must not block; run is valid until it returns. Per partition, outcomes come in the order
// of the entries; calls of different shards are concurrent.
type completer interface {
	complete(s *shard, run []outcome)
}

// register gives c a place in the table of producers.
func (n *Node) register(c completer) (index uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := slices.Clone(*n.producers.Load())
	if at := slices.Index(list[firstProducer:], nil); at >= 0 {
		index = firstProducer + uint32(at)
		list[index] = c
	} else {
		index = uint32(len(list))
		list = append(list, c)
	}
	n.producers.Store(&list)
	return index
}

// unregister frees a place. Every entry that names it must have been completed, because the next
// completer may get it.
func (n *Node) unregister(index uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := slices.Clone(*n.producers.Load())
	list[index] = nil
	n.producers.Store(&list)
}

func (n *Node) completerAt(index uint32) completer { return (*n.producers.Load())[index] }

// ownProducers lists the producers of this process.
func (n *Node) ownProducers() []*producer {
	var list []*producer
	for _, c := range *n.producers.Load() {
		if p, ok := c.(*producer); ok {
			list = append(list, p)
		}
	}
	return list
}
