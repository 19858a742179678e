package boltstore_test

import (
	"reflect"

	"github.com/pollackq/pollack/storage"
)

func equal(a, b *storage.Job) bool {
	return reflect.DeepEqual(a.Spec, b.Spec) && reflect.DeepEqual(a.Status, b.Status)
}
