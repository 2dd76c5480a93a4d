package node

import "crypto/rand"

// Files of the data folder with secrets of the QUIC door.
const (
	resetKeyFile = "reset.key" // lets clients of a run that was killed learn it from the next one
	tokenKeyFile = "token.key" // lets them come back without proving their address again
)

// newRunName names a run of a node: no two runs have the same.
func newRunName() string { return rand.Text() }

// serverKeys gives the secrets of the QUIC door, the same at every start.
func (n *Node) serverKeys() (reset, token [32]byte, err error) {
	if reset, err = n.store.Secret(resetKeyFile, rand.Reader); err != nil {
		return reset, token, err
	}
	token, err = n.store.Secret(tokenKeyFile, rand.Reader)
	return reset, token, err
}
