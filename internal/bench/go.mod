module github.com/skeinmesh/skein/internal/bench

go 1.26.0
