package app

import (
	"context"
	"errors"
	"fmt"
	"image"
	"strconv"
	"strings"
	"unicode"
)

// A step is one change of an image. It may change the image it gets.
type step func(ctx context.Context, img *image.NRGBA) (*image.NRGBA, error)

// maxSteps bounds the work that a prompt asks for.
const maxSteps = 16

// words are the steps without parameters.
var words = map[string]step{
	"mirror": mirror, "flip": flip, "gray": gray, "grey": gray, "grayscale": gray, "invert": invert, "blur": blur, "sharpen": sharpen,
	"brighten": shift(40), "brighter": shift(40), "darken": shift(-40), "darker": shift(-40), "enhance": stretch,
	"half": scale(1, 2), "double": scale(2, 1),
}

// quarters are the words after rotate, and how many quarters of a turn to the right they are.
var quarters = map[string]int{"left": 3, "right": 1, "90": 1, "180": 2, "270": 3}

// parse returns the steps of a prompt. It understands some words (rotate left, right, 90, 180 or 270, resize WxH, and those above) and passes over the
// others: "please rotate it left, then blur".
func parse(prompt string) ([]step, error) {
	list := strings.FieldsFunc(strings.ToLower(prompt), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	var steps []step
	for i, word := range list {
		rest := list[i+1:]
		switch s, ok := words[word]; {
		case ok:
			steps = append(steps, s)
		case word == "rotate":
			n := 1
			for _, w := range rest[:min(4, len(rest))] { // rotate it to the left
				if q, ok := quarters[w]; ok {
					n = q
					break
				}
			}
			steps = append(steps, rotate(n))
		case word == "resize":
			s, err := resizeTo(rest[:min(4, len(rest))])
			if err != nil {
				return nil, err
			}
			steps = append(steps, s)
		}
	}
	if len(steps) > maxSteps {
		return nil, fmt.Errorf("asks for %d changes, at most %d are made", len(steps), maxSteps)
	}
	return steps, nil
}

// resizeTo finds the size after the word resize.
func resizeTo(words []string) (step, error) {
	for _, word := range words {
		w, h, ok := strings.Cut(word, "x")
		width, errW := strconv.Atoi(w)
		height, errH := strconv.Atoi(h)
		if !ok || errW != nil || errH != nil {
			continue
		}
		if width < 1 || height < 1 || width > maxPixels/height {
			return nil, fmt.Errorf("%s: the size must have 1 to %d pixels", word, maxPixels)
		}
		return func(ctx context.Context, img *image.NRGBA) (*image.NRGBA, error) {
			return resize(ctx, img, width, height)
		}, nil
	}
	return nil, errors.New("resize needs a size: resize 320x200")
}
