package node

import (
	"fmt"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

// nodeFile names the node that a data folder belongs to.
const nodeFile = "NODE"

func nodeLine(cfg *ClusterConfig) string {
	return fmt.Sprintf("node %d of cluster %s\n", cfg.Node, cfg.Name)
}

// checkNode makes sure that a folder is opened as the node it belongs to; a folder that belongs to none
// becomes that of the node. known is the catalogue in it.
func checkNode(store *mmaplog.Store, cfg *ClusterConfig, known *core.Catalogue) error {
	const op = "open data folder"
	found, err := store.Note(nodeFile)
	if err != nil {
		return err
	}
	switch {
	case found == "" && cfg == nil && known.Version() == 0:
		return nil
	case cfg == nil:
		return core.Errorf(core.CodeWrongNode, op, "it belongs to %s", core.Quote(found))
	case found == nodeLine(cfg):
		return nil
	case found != "":
		return core.Errorf(core.CodeWrongNode, op, "it belongs to %s, opened as %s",
			core.Quote(found), core.Quote(nodeLine(cfg)))
	}
	if len(known.List()) > len(core.NewCatalogue().List()) && !newClustering(*cfg).isMeta() {
		return core.Errorf(core.CodeWrongNode, op, "it has topics, which only the node with the lowest id may "+
			"bring into a cluster")
	}
	return store.WriteNote(nodeFile, nodeLine(cfg))
}
