package app

import (
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/pollackq/pollack/httpapi/statuspoll"
)

// outputs make the answer of each output type for an order.
var outputs = map[string]func(a *App, o order, orderID string) (*statuspoll.Answer, error){
	"text": text(func(id string) (string, error) { return "The result of order " + id + ".", nil }),
	"html": text(func(id string) (string, error) { return htmlPage(id), nil }),
	"json": text(func(id string) (string, error) {
		p, err := json.Marshal(map[string]any{"order_id": id, "result": []int{1, 2, 3}})
		return string(p), err
	}),
	"csv": text(csvTable),
	"url": func(a *App, _ order, id string) (*statuspoll.Answer, error) {
		return &statuspoll.Answer{OutputType: "url", ResultURL: a.resultURL(id)}, nil
	},
	"file": inline("report.pdf", "application/pdf", func(o order, id string) ([]byte, error) { return pdf("The result of order "+id, o.Size), nil }),
	"xlsx": inline("result.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
		func(_ order, id string) ([]byte, error) { return xlsx([][]string{{"order", "result"}, {id, "done"}}) }),
	wantVideo: inline(videoName, videoType, func(o order, _ string) ([]byte, error) { return avi(o.Size), nil }),
}

const (
	videoName = "final-video.avi"
	videoType = "video/x-msvideo"
)

// sizedTypes are the outputs that can be had in any size.
var (
	outputTypes = slices.Sorted(maps.Keys(outputs))
	sizedTypes  = []string{"csv", "file", "html", "json", "text", wantVideo}
)

// text returns outputs that are result_text. Blanks behind the text bring it to its size.
func text(content func(orderID string) (string, error)) func(*App, order, string) (*statuspoll.Answer, error) {
	return func(_ *App, o order, id string) (*statuspoll.Answer, error) {
		s, err := content(id)
		if err != nil {
			return nil, err
		}
		s += strings.Repeat(" ", max(o.Size-len(s), 0))
		return &statuspoll.Answer{OutputType: o.Want, ResultText: s}, nil
	}
}

// inline returns outputs that are file_base64.
func inline(name, mimeType string, content func(o order, orderID string) ([]byte, error)) func(*App, order, string) (*statuspoll.Answer, error) {
	return func(_ *App, o order, id string) (*statuspoll.Answer, error) {
		p, err := content(o, id)
		if err != nil {
			return nil, err
		}
		return &statuspoll.Answer{OutputType: o.Want, FileBase64: base64.StdEncoding.EncodeToString(p), Filename: name, MIMEType: mimeType}, nil
	}
}

func csvTable(orderID string) (string, error) {
	var out strings.Builder
	w := csv.NewWriter(&out)
	if err := w.WriteAll([][]string{{"order", "result"}, {orderID, "done"}}); err != nil {
		return "", err
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}
