// Package storagetest is what every backend of package storage must pass, ours or anybody's.
//
//   - [Run] checks the laws of package storage one by one: each is a subtest named as a sentence with the law's number.
//   - [Compare] runs a random history on two stores and compares all that they answer; [Fuzz] does so with histories made of bytes.
//   - [Benchmark] measures cycles of enqueue, lease and ack.
//   - [Faulty] wraps a store and makes calls fail on demand, for tests of what stands on a store.
//
// A backend's test is:
//
//	func open(t testing.TB) storage.Store {
//		s, err := mystore.Open(filepath.Join(t.TempDir(), "jobs"), nil)
//		if err != nil {
//			t.Fatal(err)
//		}
//		return s
//	}
//
//	func TestLaws(t *testing.T) { storagetest.Run(t, open) }
//
//	func TestHistories(t *testing.T) {
//		for seed := range uint64(100) {
//			storagetest.Compare(t, memstore.New(nil), open(t), seed, 200)
//		}
//	}
//
//	func FuzzHistory(f *testing.F)     { storagetest.Fuzz(f, open) }
//	func BenchmarkCycle(b *testing.B) { storagetest.Benchmark(b, open) }
package storagetest
