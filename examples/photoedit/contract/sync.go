package contract

import (
	"bytes"
	"context"
	"encoding/base64"
	"image/color"
	"image/gif"
	"image/jpeg"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pollackq/pollack/examples/photoedit/app"
	"github.com/pollackq/pollack/internal/contract"
)

func init() {
	suite.Case("every endpoint answers with the image", "S5-01 S5-02 S5-04 D-S5-01", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, func(c *app.Config) { c.Accounts[1].Balance = 1000 })
		for _, op := range operations {
			plain := s.inline(s.alice.Do(t, "POST", "/"+op, request(op, nil)))
			m, format := s.decode(plain)
			wantEqual(t, op+" format", format, "png")
			if op != "generate" && (m.Bounds().Dx() != 2 || m.Bounds().Dy() != 3) {
				t.Errorf("%s: got an image of %v, want one rotated to 2 by 3", op, m.Bounds())
			}
			for i, more := range []object{
				{"async": false}, {"async": nil}, {"response_mode": "bytes"}, {"response_mode": nil, "callback_url": nil}, {"client_request_id": "sync-" + op},
			} {
				if got := s.inline(s.bob.Do(t, "POST", "/"+op, request(op, more))); !bytes.Equal(got, plain) {
					t.Errorf("%s with %v (%d): got another image", op, more, i)
				}
			}
			urls := s.alice.Do(t, "POST", "/"+op, request(op, object{"response_mode": "urls"})).Want(t, 200)
			got := s.nobody.Do(t, "GET", s.downloadURL(urls.JSON(t)), nil).Want(t, 200)
			if !bytes.Equal(got.Body, plain) || got.Header.Get("Content-Type") != "image/png" {
				t.Errorf("%s: got another image, %s, at the download URL", op, got.Header.Get("Content-Type"))
			}
		}
	})

	suite.Case("the connection stays open until the image is ready", "S5-01 S5-02", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		for _, op := range []string{"edit", "enhance", "remix"} {
			began := time.Now()
			s.inline(s.alice.Do(t, "POST", "/"+op, request(op, object{"image_url": "https://pictures.example/slow.png"})))
			wantEqual(t, op+" took", time.Since(began), 10*time.Second)
		}
	})

	suite.Case("edit does what the prompt says", "S5-01", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		src, _ := s.decode(cat)
		at := func(x, y int) color.NRGBA { return color.NRGBAModel.Convert(src.At(x, y)).(color.NRGBA) }
		for _, c := range []struct {
			prompt string
			w, h   int
			want   color.NRGBA // at 0, 0
		}{
			{"Please rotate it to the left!", 2, 3, at(2, 0)},
			{"rotate right", 2, 3, at(0, 1)},
			{"rotate 180", 3, 2, at(2, 1)},
			{"mirror", 3, 2, at(2, 0)},
			{"flip", 3, 2, at(0, 1)},
			{"mirror, then flip", 3, 2, at(2, 1)},
			{"invert", 3, 2, color.NRGBA{255, 155, 55, 255}},
			{"resize 7x5", 7, 5, at(0, 0)},
			{"double", 6, 4, at(0, 0)},
			{"darken", 3, 2, color.NRGBA{0, 60, 160, 255}},
		} {
			m, _ := s.decode(s.inline(s.alice.Do(t, "POST", "/edit", request("edit", object{"prompt": c.prompt}))))
			got := color.NRGBAModel.Convert(m.At(0, 0)).(color.NRGBA)
			if m.Bounds().Dx() != c.w || m.Bounds().Dy() != c.h || got != c.want {
				t.Errorf("%s: got %v with %v at 0, 0, want %d by %d with %v", c.prompt, m.Bounds(), got, c.w, c.h, c.want)
			}
		}
	})

	suite.Case("an image is given in base64, as a data: URL or at a URL, as PNG, JPEG or GIF", "S5-01", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		src, _ := s.decode(cat)
		var jpg, gf bytes.Buffer
		if err := jpeg.Encode(&jpg, src, nil); err != nil {
			t.Fatal(err)
		}
		if err := gif.Encode(&gf, src, nil); err != nil {
			t.Fatal(err)
		}
		coded := base64.StdEncoding.EncodeToString
		for name, c := range map[string]struct {
			field, value, format string
		}{
			"base64":   {"image", coded(cat), "png"},
			"data URL": {"image", "data:image/png;base64," + coded(cat), "png"},
			"URL":      {"image_url", "https://pictures.example/cat.png", "png"},
			"JPEG":     {"image", coded(jpg.Bytes()), "jpeg"},
			"GIF":      {"image", coded(gf.Bytes()), "png"},
		} {
			m, format := s.decode(s.inline(s.alice.Do(t, "POST", "/edit", object{"prompt": "rotate left", c.field: c.value})))
			if format != c.format || m.Bounds().Dx() != 2 {
				t.Errorf("%s: got a %s of %v, want a %s, rotated", name, format, m.Bounds(), c.format)
			}
		}
	})

	suite.Case("generate draws the same image for the same prompt", "S5-01", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		draw := func(prompt string) []byte {
			return s.inline(s.alice.Do(t, "POST", "/generate", object{"prompt": prompt}))
		}
		if !bytes.Equal(draw("a rose"), draw("a rose")) || bytes.Equal(draw("a rose"), draw("a tulip")) {
			t.Error("want the same image for the same prompt, and another for another")
		}
	})

	suite.Case("an image that comes to nothing is refused in the answer, and costs nothing", "S5-01 S5-50", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		for path, code := range map[string]string{"/text": "invalid_image", "/missing": "fetch_failed"} {
			s.alice.Do(t, "POST", "/edit", request("edit", object{"image_url": "https://pictures.example" + path})).Problem(t, 422, code)
		}
		s.alice.Do(t, "POST", "/edit", request("edit", object{"prompt": "resize 6000x6000, double"})).Problem(t, 422, "invalid_image")
		s.balance(s.alice, 100)
	})

	suite.Case("an image_url that is not public is not fetched", "S5-01", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		s.stop()
		s.config.FetchClient = nil
		s.start()
		for _, host := range []string{"127.0.0.1", "[::1]", "169.254.169.254", "10.0.0.1"} {
			s.alice.Do(t, "POST", "/edit", request("edit", object{"image_url": "https://" + host + "/cat.png"})).Problem(t, 422, "forbidden_address")
		}
		s.balance(s.alice, 100)
	})

	suite.Case("a synchronous request has 30 seconds, an asynchronous job 10 minutes", "S5-09 D-S5-09 S5-50 D-S5-50", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		never := object{"image_url": "https://pictures.example/never.png"}
		for _, op := range []string{"edit", "enhance", "remix"} {
			began := time.Now()
			s.alice.Do(t, "POST", "/"+op, request(op, never)).Problem(t, 504, "deadline_exceeded")
			if took := time.Since(began); took < 30*time.Second || took > 30*time.Second+100*time.Millisecond { // the transaction that missed the deadline may be in the way for a moment
				t.Errorf("%s took %v, want 30s", op, took)
			}
			s.balance(s.alice, 100)
			id := s.submit(op, never)
			time.Sleep(10*time.Minute - time.Second)
			s.poll(id, "running")
			s.balance(s.alice, 100-floorCost)
			time.Sleep(2 * time.Second)
			wantEqual(t, op+" code", s.poll(id, "failed")["error"].(object)["code"].(string), "deadline_exceeded")
			s.balance(s.alice, 100)
		}
	})

	suite.Case("whoever hangs up without a client_request_id cancels the work and pays nothing", "D-S5-50", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		slow := object{"image_url": "https://pictures.example/slow.png"}
		hangUp := func(more object) {
			body := request("edit", slow)
			for k, v := range more {
				body[k] = v
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if _, err := s.alice.Try(ctx, "POST", "/edit", body); err == nil {
				t.Fatal("got an answer after less than 10 seconds")
			}
			synctest.Wait()
		}
		hangUp(nil)
		s.balance(s.alice, 100)
		time.Sleep(time.Minute)
		s.balance(s.alice, 100)
		hangUp(object{"client_request_id": "r"})
		s.balance(s.alice, 100-floorCost)
		id := s.handle(s.alice.Do(t, "POST", "/edit", object{"client_request_id": "r"}))
		time.Sleep(time.Minute)
		s.downloadURL(s.poll(id, "succeeded")["result"])
		s.balance(s.alice, 100-finalCost)
	})

	suite.Case("a server that ends says where the image will be", "S5-01 S5-21", func(t *testing.T, open contract.Opener) {
		s := newStudio(t, open, nil)
		answered := make(chan *contract.Answer, 1)
		go func() {
			a, _ := s.alice.Try(t.Context(), "POST", "/edit", request("edit", object{"image_url": "https://pictures.example/slow.png"}))
			answered <- a
		}()
		synctest.Wait()
		s.restart()
		a := <-answered
		a.Problem(t, 503, "shutting_down")
		time.Sleep(20 * time.Second)
		v := s.alice.Do(t, "GET", a.Header.Get("Location"), nil).Want(t, 200).JSON(t)
		wantEqual(t, "status", v["status"].(string), "succeeded")
		s.balance(s.alice, 100-finalCost)
	})
}
