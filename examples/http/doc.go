// Package httpexamples has programs in other languages that use a bus over HTTP, with nothing but what comes
// with the language: curl.sh, python/bus.py and node/bus.mjs. They do the same and print the same. A test
// runs each where its language is present.
package httpexamples
