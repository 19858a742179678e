// Package bench compares Pollack with what else one might use. It is a module of its own, so that what it needs burdens no importer.
package bench
