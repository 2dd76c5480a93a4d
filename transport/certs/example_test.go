package certs_test

import (
	"fmt"
	"log"
	"time"

	"github.com/leatbus/leat/transport/certs"
)

// A deployment has a CA of its own, and a certificate per node and per client.
func Example() {
	ca, err := certs.NewAuthority("Example CA", 10*365*24*time.Hour)
	if err != nil {
		log.Fatal(err)
	}
	node, err := ca.Issue(certs.Spec{
		CommonName: "node 1",
		Hosts:      []string{"n1.example.com"},
		URIs:       []string{"leat://prod/1"},
		Server:     true,
		Client:     true,
	})
	if err != nil {
		log.Fatal(err)
	}
	leaf := node.TLS().Leaf
	fmt.Println(leaf.Issuer.CommonName, "issued", leaf.Subject.CommonName, leaf.DNSNames, leaf.URIs)
	// Output: Example CA issued node 1 [n1.example.com] [leat://prod/1]
}
