package main

var identity = []Mutant{}
