#include "nbody.h"
