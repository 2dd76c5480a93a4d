//go:build !linux

package main

// warnings knows nothing about this system.
func warnings(*serveConfig) []string { return nil }
